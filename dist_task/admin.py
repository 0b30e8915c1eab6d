"""Workers, the log, users and their tokens in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import CharField, Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Left, Now
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.changes import changes
from dist_task.console.dashboard import workers_page
from dist_task.console.display import ago, badge, json_block, moment, of_direction, row_link, short, text_block
from dist_task.console.keyset import KeysetAdmin, is_list
from dist_task.console.log_filter import ConsoleLogFilter
from dist_task.console.rows import BoundedAdmin, EngineRowAdmin, TabFilter
from dist_task.console.tokens import tokens_view
from dist_task.models import ExecutionLog, Worker
from transactions.models import Transaction

LONGEST_HEAD = 300


class LiveTabs(TabFilter):
    title = _("workers")
    parameter_name = "live"
    default = "yes"
    tabs = (("yes", _("live")), ("no", _("gone")), ("all", _("all")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(lease_until__gt=Now())
            case "no":
                return queryset.filter(lease_until__lte=Now())
        return queryset


@admin.register(Worker, site=site)
class WorkerAdmin(EngineRowAdmin):
    list_display = ("id", "state", "cluster", "host", "pid", "held", "lease", "seen", "since")
    change_list_template = "admin/worker_list.html"
    list_filter = (LiveTabs,)
    sortable_by = ()
    fields = ("state", "cluster", "host", "pid", "lease", "seen", "since")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        owned = Transaction.objects.filter(owner=OuterRef("pk")).order_by().values("owner")
        count = owned.annotate(count=Count("id")).values("count")
        return super().get_queryset(request).annotate(held_count=Coalesce(Subquery(count), 0))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        extra = workers_page() if self.has_view_permission(request) else {}
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    @admin.display(description=_("holds"))
    def held(self, worker: Any) -> int:
        return worker.held_count

    @admin.display(description=_("status"))
    def state(self, worker: Worker) -> str:
        if worker.lease_until <= timezone.now():
            return badge("cancelled", word=gettext("gone"))
        if worker.idle:
            return badge("success", word=gettext("live, idle"))
        return badge("running", word=gettext("live, working"))

    @admin.display(description=_("lease until"))
    def lease(self, worker: Worker) -> str:
        return moment(worker.lease_until)

    @admin.display(description=_("seen"))
    def seen(self, worker: Worker) -> str:
        return gettext("%(time)s ago") % {"time": ago(worker.seen_at)}

    @admin.display(description=_("started at"))
    def since(self, worker: Worker) -> str:
        return moment(worker.created_at)


@admin.register(ExecutionLog, site=site)
class ExecutionLogAdmin(KeysetAdmin):
    list_display = ("when", "business_id", "task", "event", "attempt", "by", "text")
    list_display_links = ("when",)
    filterset_class = ConsoleLogFilter
    list_select_related = ("transaction",)
    ordering = ("-id",)
    sortable_by = ()
    fields = (
        ("business_id", "task", "op"),
        ("event", "attempt", "by"),
        ("began", "when"),
        "code",
        "said",
        "asked",
        "answered",
        "details",
    )
    readonly_fields = (
        "business_id",
        "task",
        "when",
        "began",
        "by",
        "code",
        "said",
        "asked",
        "answered",
        "details",
        "changed",
    )

    def get_fields(self, request: HttpRequest, obj: ExecutionLog | None = None) -> Any:
        """With what a verb changed, where its entry has that."""
        has_both = obj is not None and isinstance(obj.detail, dict) and {"before", "after"} <= obj.detail.keys()
        return (*self.fields, "changed") if has_both else self.fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).select_related("transaction").defer("transaction__params")
        if not is_list(request):
            return rows
        head = Left("message", LONGEST_HEAD, output_field=CharField())
        heavy = ("transaction__params", "request", "response", "message", "detail")
        return rows.defer(*heavy).annotate(head=head)

    @admin.display(description=_("at"))
    def when(self, entry: ExecutionLog) -> str:
        return moment(entry.at)

    @admin.display(description=_("started at"))
    def began(self, entry: ExecutionLog) -> str:
        return moment(entry.started_at)

    @admin.display(description=_("instance id"))
    def business_id(self, entry: ExecutionLog) -> str:
        return row_link(entry.transaction)

    @admin.display(description=_("task"))
    def task(self, entry: ExecutionLog) -> str:
        name = of_direction(entry.task_id, entry.op)
        return name if entry.item < 0 else f"{name} [{entry.item}]"

    @admin.display(description=_("message"))
    def text(self, entry: ExecutionLog) -> str:
        return format_html("<strong>{}</strong> {}", short(entry.error_code, 60), short(getattr(entry, "head", "")))

    @admin.display(description=_("message"))
    def said(self, entry: ExecutionLog) -> str:
        return text_block(entry.message) if entry.message else "–"

    @admin.display(description=_("error code"))
    def code(self, entry: ExecutionLog) -> str:
        return short(entry.error_code, 100) or "–"

    @admin.display(description=_("actor"))
    def by(self, entry: ExecutionLog) -> str:
        return short(entry.actor, 150) or "–"

    @admin.display(description=_("request"))
    def asked(self, entry: ExecutionLog) -> str:
        return json_block(entry.request)

    @admin.display(description=_("response"))
    def answered(self, entry: ExecutionLog) -> str:
        return json_block(entry.response)

    @admin.display(description=_("detail"))
    def details(self, entry: ExecutionLog) -> str:
        return json_block(entry.detail)

    @admin.display(description=_("What changed"))
    def changed(self, entry: ExecutionLog) -> str:
        detail = entry.detail or {}
        found = changes(detail.get("before"), detail.get("after"))
        return render_to_string("admin/changes.html", {"changes": found})


@admin.register(User, site=site)
class ConsoleUserAdmin(BoundedAdmin, UserAdmin):
    """Django's own page, with the person's API tokens."""

    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login", "api_tokens")
    change_form_template = "admin/user.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(tokens_view(self))
        return [path("<int:user_id>/tokens/", view, name="auth_user_tokens"), *super().get_urls()]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Who may edit people may give roles; only a superuser makes another one."""
        return () if request.user.is_superuser else ("is_superuser", "user_permissions")

    @admin.display(description=_("API tokens"))
    def api_tokens(self, user: User) -> str:
        return format_html('<a href="{}/tokens/">{}</a>', user.pk, gettext("API tokens"))


@admin.register(Group, site=site)
class ConsoleGroupAdmin(BoundedAdmin, GroupAdmin):
    pass
