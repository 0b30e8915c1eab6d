"""Exceptions in the console: the inbox of those who mend."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import CharField, QuerySet
from django.db.models.functions import Left
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.confirm import operate
from dist_task.console.display import badge, list_url, of_direction, short, since
from dist_task.console.keyset import KeysetAdmin, is_list
from dist_task.console.panel import task_address
from dist_task.console.text import brief, plain
from dist_task.models import ExecutionLog
from dist_task.states import ExceptionStatus
from exceptions_app.console_filters import ConsoleExceptionFilter
from exceptions_app.groups import NEWEST, groups
from exceptions_app.models import ExceptionRecord
from exceptions_app.operations import ASSIGN, COMMENT, COMPLETE, HANDLE, RETRY, SKIP
from exceptions_app.retry_page import retry_page
from exceptions_app.serializers import comments_on
from flows.definition import InvalidDefinition
from flows.models import TaskDefinition
from flows.registry_rows import load

MOST_ATTEMPTS = 10
MOST_SIMILAR = 5
LONGEST_HEAD = 300


@admin.register(ExceptionRecord, site=site)
class ExceptionRecordAdmin(KeysetAdmin):
    list_display = ("business_id", "state", "flow_version", "task", "error", "times", "age")
    list_display_links = ("business_id",)
    filterset_class = ConsoleExceptionFilter
    batch_target = views_of = "exceptions"
    change_list_template = "admin/exception_list.html"
    list_select_related = ("transaction", "flow")
    ordering = ("-id",)
    sortable_by = ()
    actions = ("retry", "handle", "skip", "complete", "assign", "comment")
    change_form_template = "admin/exception.html"

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.retry_exceptionrecord")

    def has_handle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.handle_exceptionrecord")

    def has_skip_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.skip_exceptionrecord")

    def has_complete_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.complete_exceptionrecord")

    def has_assign_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.assign_exceptionrecord")

    def has_comment_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.comment_exceptionrecord")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        heavy = ("flow__definition", "flow__task_definitions", "flow__description", "transaction__params")
        rows = super().get_queryset(request).select_related("transaction", "flow").defer(*heavy)
        if not is_list(request):
            return rows
        head = Left("error_message", LONGEST_HEAD, output_field=CharField())
        return rows.defer(*heavy, "error_message", "remark").annotate(error_head=head)

    def get_urls(self) -> list[URLPattern]:
        groups = self.admin_site.admin_view(self.groups_view)
        retry = self.admin_site.admin_view(self.retry_view)
        return [
            path("groups/", groups, name="exception_groups"),
            path("<str:object_id>/retry/", retry, name="exception_retry"),
            *super().get_urls(),
        ]

    def retry_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not (self.has_view_permission(request) and self.has_retry_permission(request)):
            raise PermissionDenied
        record = self.get_object(request, object_id)
        if record is None:
            raise Http404
        return retry_page(self, request=request, record=record)

    def groups_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        status = request.GET.get("status", "")
        status = status if status in ExceptionStatus.values else ExceptionStatus.OPEN.value
        inbox = reverse("admin:exceptions_app_exceptionrecord_changelist")
        tabs = [(f"{inbox}?status={value}", title, False) for value, title in ConsoleExceptionFilter.tabs]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Groups of exceptions"),
            "tabs": [*tabs, ("", gettext("Groups"), True)],
            "choices": [tab for tab in ConsoleExceptionFilter.tabs if tab[0] != "all"],
            "status": status,
            "groups": groups(status=status),
            "newest": f"{NEWEST:,}",
        }
        return TemplateResponse(request, "admin/exception_groups.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        record = self.get_object(request, object_id) if self.has_view_permission(request) else None
        extra = _page(record) if record else {}
        extra["can_retry"] = self.has_retry_permission(request)
        extra["can_handle"] = self.has_handle_permission(request)
        extra["can_skip"] = self.has_skip_permission(request)
        extra["can_complete"] = self.has_complete_permission(request)
        extra["can_assign"] = self.has_assign_permission(request)
        extra["can_comment"] = self.has_comment_permission(request)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        me = request.user.get_username()
        mine = {"mine": urlencode({"assignee": me}), "is_mine": request.GET.get("assignee") == me}
        return super().changelist_view(request, {**mine, **(extra_context or {})})

    @admin.display(description=_("status"))
    def state(self, record: Any) -> str:
        found = badge(record.status, word=record.get_status_display())
        if not record.assignee:
            return found
        return format_html("{}<br><small>{}</small>", found, short(record.assignee, 40))

    @admin.display(description=_("instance id"))
    def business_id(self, record: Any) -> str:
        return plain(record.transaction.instance_id)

    @admin.display(description=_("flow"))
    def flow_version(self, record: Any) -> str:
        return short(record.flow, 60)

    @admin.display(description=_("task"))
    def task(self, record: Any) -> str:
        return format_html(
            "{}<br><small>{}</small>", of_direction(short(record.task_name, 40), record.op), record.task_id
        )

    @admin.display(description=_("error"))
    def error(self, record: Any) -> str:
        is_unknown = record.outcome == "unknown"
        flag = format_html(' <span class="flag">{}</span>', gettext("outcome unknown")) if is_unknown else ""
        return format_html(
            "<strong>{}</strong> {}{}", short(record.error_code, 60), brief(record.error_head, 240), flag
        )

    @admin.display(description=_("times"))
    def times(self, record: Any) -> SafeString:
        return format_html('<span class="figure">{}</span>', record.occurrences)

    @admin.display(description=_("age"))
    def age(self, record: Any) -> str:
        return since(record.opened_at)

    @admin.action(description=_("Retry…"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=RETRY)

    @admin.action(description=_("Handle…"), permissions=["handle"])
    def handle(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=HANDLE)

    @admin.action(description=_("Skip…"), permissions=["skip"])
    def skip(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=SKIP)

    @admin.action(description=_("Complete by hand…"), permissions=["complete"])
    def complete(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=COMPLETE)

    @admin.action(description=_("Assign…"), permissions=["assign"])
    def assign(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=ASSIGN)

    @admin.action(description=_("Comment…"), permissions=["comment"])
    def comment(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=COMMENT)


def _page(record: ExceptionRecord) -> dict[str, Any]:
    attempts = ExecutionLog.objects.filter(
        transaction=record.transaction, task_id=record.task_id, op=record.op, item=record.item
    )
    similar = (
        ExceptionRecord.objects.filter(fingerprint=record.fingerprint, status=ExceptionStatus.HANDLED)
        .exclude(pk=record.pk)
        .select_related("transaction")
        .order_by("-id")
    )
    return {
        "record": record,
        "comments": comments_on(record),
        "task_url": task_address(record.transaction_id, key=(record.task_id, record.op, record.item)),
        "log": list(attempts.order_by("-id")[:MOST_ATTEMPTS]),
        "similar": list(similar[:MOST_SIMILAR]),
        "group_url": list_url(ExceptionRecord, query=urlencode({"status": "all", "fingerprint": record.fingerprint})),
        "runbook_url": _runbook_url(record),
    }


def _runbook_url(record: ExceptionRecord) -> str:
    """Of the task definition that the flow's task names; today's page, even where the entry is pinned."""
    try:
        spec = load(record.flow).tasks.get(record.task_id)
    except InvalidDefinition:
        return ""
    if spec is None or not spec.task_name:
        return ""
    entry = TaskDefinition.objects.filter(name=spec.task_name).only("runbook_url").first()
    return entry.runbook_url if entry and entry.runbook_url.startswith(("http://", "https://")) else ""
