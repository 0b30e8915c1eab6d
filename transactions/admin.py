"""Transactions in the console: to find, to understand, to retry and to cancel."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.confirm import operate
from dist_task.console.display import ago, badge, moment, row_link
from dist_task.console.keyset import KeysetAdmin, is_list
from dist_task.console.kin import RERUN_AS, Kin
from dist_task.console.live import needs_person, transaction_etag
from dist_task.console.rerun_page import rerun_page
from dist_task.console.text import plain
from dist_task.console.transaction_page import page
from dist_task.engine import operate as verbs
from dist_task.engine.four_eyes import rule
from dist_task.four_eyes.words import Act
from transactions import operations
from transactions.console_filters import ConsoleTransactionFilter
from transactions.models import Transaction
from transactions.progress import add_progress


def _another_stands_on(kin: Kin) -> bool:
    """It was run again, and that is to be undone before it."""
    return kin.rerun_as is not None and kin.rerun_as.compensation != "done"


def _may_run_again(txn: Any) -> bool:
    has_ended = txn.is_final and txn.compensation in ("none", "done")
    return bool(has_ended and txn.parent_id is None and not txn.was_run_again)


@admin.register(Transaction, site=site)
class TransactionAdmin(KeysetAdmin):
    list_display = ("name", "state", "flow_version", "tasks", "created", "duration")
    list_display_links = ("name",)
    filterset_class = ConsoleTransactionFilter
    batch_target = views_of = "transactions"
    change_list_template = "admin/transaction_list.html"
    list_select_related = ("flow",)
    ordering = ("-id",)
    sortable_by = ()
    actions = ("retry", "pause", "resume", "cancel", "compensate", "rerun", "approve", "reject")
    change_form_template = "admin/transaction.html"

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("exceptions_app.retry_exceptionrecord")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.change_transaction")

    def has_pause_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.pause_transaction")

    def has_rerun_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.rerun_transaction")

    def has_compensate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.compensate_transaction")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        txn = self.get_object(request, object_id) if self.has_view_permission(request) else None
        extra = page(txn, request=request) if txn else {}
        if txn:
            extra["live_etag"] = transaction_etag(extra["live_facts"], needs_person=needs_person(request.user))
        extra["can_retry"] = self.has_retry_permission(request)
        extra["can_cancel"] = self.has_cancel_permission(request)
        extra["can_pause"] = self.has_pause_permission(request)
        extra["may_be_paused"] = txn is not None and (not txn.is_final or txn.compensation == "running")
        extra["can_decide"] = extra["can_cancel"] and extra.get("waits_for_approval", False)
        extra["can_compensate"] = self.has_compensate_permission(request)
        extra["can_start"] = request.user.has_perm("transactions.add_transaction")
        extra["stands_below"] = txn is not None and _another_stands_on(extra["kin"])
        extra["can_rerun"] = self.has_rerun_permission(request) and txn is not None and _may_run_again(txn)
        if txn is not None and txn.is_final and rule.is_needed(Act.COMPENSATE):
            extra["approval_request"] = verbs.awaiting_request(txn)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.rerun_view)
        return [path("<int:pk>/rerun/", view, name="transaction_rerun"), *super().get_urls()]

    def rerun_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """`?task=ID`, as often as wanted: the tasks that are chosen."""
        if not self.has_view_permission(request) or not self.has_rerun_permission(request):
            raise PermissionDenied
        return rerun_page(self, request=request, txn=get_object_or_404(self.get_queryset(request), pk=pk))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        heavy = ("flow__definition", "flow__task_definitions", "flow__description")
        rows = super().get_queryset(request).select_related("flow")
        return rows.defer("params", *heavy) if is_list(request) else rows.defer(*heavy).annotate(rerun_as_id=RERUN_AS)

    def prepared(self, rows: list[Any]) -> list[Any]:
        add_progress(rows)
        return rows

    @admin.display(description=_("instance id"))
    def name(self, txn: Any) -> str:
        return plain(txn.instance_id)

    @admin.display(description=_("tasks"))
    def tasks(self, txn: Any) -> SafeString:
        return render_to_string("admin/progress.html", {"progress": txn.progress})

    @admin.display(description=_("flow"))
    def flow_version(self, txn: Any) -> str:
        return row_link(txn.flow)

    @admin.display(description=_("status"))
    def state(self, txn: Any) -> str:
        found = badge(txn.status, word=txn.get_status_display())
        if txn.paused:
            found = format_html('{} <span class="flag">❚❚ {}</span>', found, gettext("paused"))
        if txn.compensation == "none":
            return found
        undoing = gettext("compensation %(word)s") % {"word": txn.get_compensation_display()}
        return format_html("{} {}", found, badge(txn.compensation, word=undoing))

    @admin.display(description=_("created at"))
    def created(self, txn: Any) -> str:
        return moment(txn.created_at)

    @admin.display(description=_("duration"))
    def duration(self, txn: Any) -> str:
        return ago(txn.created_at, now=txn.completed_at)

    @admin.action(description=_("Retry…"), permissions=["retry"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.RETRY)

    @admin.action(description=_("Cancel…"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.CANCEL)

    @admin.action(description=_("Pause…"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.PAUSE)

    @admin.action(description=_("Resume…"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.RESUME)

    @admin.action(description=_("Approve…"), permissions=["cancel"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.APPROVE)

    @admin.action(description=_("Reject…"), permissions=["cancel"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.REJECT)

    @admin.action(description=_("Run again…"), permissions=["rerun"])
    def rerun(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.RERUN)

    @admin.action(description=_("Compensate…"), permissions=["compensate"])
    def compensate(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=operations.COMPENSATE)
