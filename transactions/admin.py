"""Transactions in the console: to find, to understand, to retry and to cancel."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.confirm import Operation, operate
from dist_task.console.display import ago, badge, moment, row_link
from dist_task.console.keyset import KeysetAdmin, is_list
from dist_task.console.kin import RERUN_AS, Kin
from dist_task.console.live import needs_person, transaction_etag
from dist_task.console.rerun_page import RerunForm, rerun_page
from dist_task.console.text import plain
from dist_task.console.transaction_page import page
from dist_task.engine import operate as verbs
from dist_task.engine.four_eyes import rule
from dist_task.engine.store.verbs import waiting_approvals
from dist_task.errors import IllegalMove
from dist_task.four_eyes.words import Act
from dist_task.models import TaskRun
from dist_task.roles import roles_of
from dist_task.states import WHOLE
from transactions.console_filters import ConsoleTransactionFilter
from transactions.models import Transaction
from transactions.progress import add_progress
from transactions.undoing import undoing_of

MOST_NAMES = 50


def _state_of(txn: Any) -> str:
    return gettext("%(flow)s, %(status)s") % {"flow": txn.flow, "status": txn.get_status_display()}


def _retry(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    after = verbs.retry_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    return gettext("retried; it is %(status)s now") % {"status": after.get_status_display()}


def _cancel(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    after = verbs.cancel_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    if after.cancelling:
        return gettext("it ends as cancelled once its attempts in flight have ended")
    return gettext("it is %(status)s now") % {"status": after.get_status_display()}


def _compensate(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    after = verbs.compensate_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    if (asked := verbs.awaiting_request(after)) is not None:
        return gettext("asked for (request %(id)s): nothing is done before a second person approves it") % {"id": asked}
    return gettext("it is being undone")


def _consequence_of_compensating() -> str:
    done = gettext(
        "What each transaction has done is undone, the last thing first. Its tasks can then no longer be retried. "
        "A compensation that failed goes on where it failed. Transactions that have not ended are refused."
    )
    if not rule.is_needed(Act.COMPENSATE):
        return done
    asked = gettext("You only ask for it: it is done once another person has approved it.")
    return f"{asked} {done}"


def _plan_of(txn: Any) -> str:
    """What undoing it would do, in its order."""
    plan = undoing_of(txn)
    undone = [each.step.task_id for each in plan if each.step.is_undone]
    passed = [each.step.task_id for each in plan if not each.step.is_undone]
    parts = [_state_of(txn), gettext("undone in this order: %(tasks)s") % {"tasks": _named(undone)}]
    if passed:
        parts.append(gettext("passed over, since they say no compensation: %(tasks)s") % {"tasks": _named(passed)})
    return "; ".join(parts)


def _named(task_ids: list[str]) -> str:
    shown = " → ".join(task_ids[:MOST_NAMES])
    return (shown or gettext("nothing")) + ("…" if len(task_ids) > MOST_NAMES else "")


def _decide(request: HttpRequest, txn: Any, values: dict[str, Any], *, approve: bool) -> str:
    """The approvals that the page has shown, as far as they wait still."""
    shown = [int(text) for text in values["seen"].split(",") if text.isdecimal()]
    waiting = list(_approvals_of(txn).filter(pk__in=shown))
    if not waiting:
        raise IllegalMove(gettext("no approval of it waits that was shown"))
    for run in waiting:
        verbs.decide_approval(
            txn.instance_id,
            run.task_id,
            item=run.item,
            approve=approve,
            actor=request.user.get_username(),
            roles=roles_of(request.user),
            remark=values["remark"],
        )
    return gettext("decided: %(tasks)s") % {"tasks": _listed(waiting)}


def _approvals_of(txn: Any) -> QuerySet[TaskRun]:
    return waiting_approvals(txn).defer("input", "output").order_by("id")


def _approvals_named(txn: Any) -> str:
    waiting = _listed(_approvals_of(txn)[:MOST_NAMES])
    return gettext("%(state)s; waits for: %(tasks)s") % {
        "state": _state_of(txn),
        "tasks": waiting or gettext("nothing"),
    }


def _approvals_seen(txn: Any) -> str:
    return ",".join(str(run.pk) for run in _approvals_of(txn)[:MOST_NAMES])


def _listed(runs: Iterable[TaskRun]) -> str:
    return ", ".join(run.task_id if run.item == WHOLE else f"{run.task_id} [{run.item}]" for run in runs)


def _pause(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    verbs.pause_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    return gettext("it is paused")


def _resume(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    verbs.resume_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    return gettext("it goes on")


def _rerun(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    given = {key: values[key] for key in ("tasks", "force", "remark")}
    again = verbs.rerun_transaction(txn.instance_id, actor=request.user.get_username(), **given)
    return gettext("it runs again as %(id)s") % {"id": again.instance_id}


PAUSE = Operation(
    action="pause",
    title=_("Pause transactions"),
    consequence=_(
        "Nothing of them begins until they are resumed, nor of what they have started. "
        "Attempts in flight end and are recorded; answers from outside are kept."
    ),
    apply=_pause,
    describe=_state_of,
)
RESUME = Operation(
    action="resume",
    title=_("Resume transactions"),
    consequence=_("They go on at once, and so does what they have started. The flow's time limit counts anew."),
    apply=_resume,
    describe=_state_of,
)


APPROVE = Operation(
    action="approve",
    title=_("Approve"),
    consequence=_("Each transaction goes on where it waits for an approval. Those that wait for none are refused."),
    apply=partial(_decide, approve=True),
    describe=_approvals_named,
    seen=_approvals_seen,
)
REJECT = Operation(
    action="reject",
    title=_("Reject"),
    consequence=_(
        "The tasks that wait for an approval fail, with your remark, and what depends on them does not start."
    ),
    apply=partial(_decide, approve=False),
    describe=_approvals_named,
    seen=_approvals_seen,
    dangerous=True,
)
RETRY = Operation(
    action="retry",
    title=_("Retry transactions"),
    consequence=_(
        "All failed tasks of each transaction run again now, with their parameters kept. "
        "Only failed transactions can be retried; the others are refused."
    ),
    apply=_retry,
    describe=_state_of,
)
CANCEL = Operation(
    action="cancel",
    title=_("Cancel transactions"),
    consequence=_(
        "Nothing new starts. Attempts in flight end and are recorded. What has been done is not undone, "
        "and a cancelled transaction cannot go on."
    ),
    apply=_cancel,
    describe=_state_of,
    dangerous=True,
)


COMPENSATE = Operation(
    action="compensate",
    title=_("Compensate transactions"),
    consequence=lazy(_consequence_of_compensating, str)(),
    apply=_compensate,
    describe=_plan_of,
    dangerous=True,
)


RERUN = Operation(
    action="rerun",
    title=_("Run transactions again"),
    consequence=_(
        "Each transaction that has ended runs again as a new one, from the tasks that you name on; without a name all "
        "of it. What the other tasks gave is carried over. The old ones stay as they are, and can then only be undone."
    ),
    apply=_rerun,
    describe=_state_of,
    form=RerunForm,
    dangerous=True,
)


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
        return operate(self, request=request, rows=queryset, operation=RETRY)

    @admin.action(description=_("Cancel…"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=CANCEL)

    @admin.action(description=_("Pause…"), permissions=["pause"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=PAUSE)

    @admin.action(description=_("Resume…"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=RESUME)

    @admin.action(description=_("Approve…"), permissions=["cancel"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=APPROVE)

    @admin.action(description=_("Reject…"), permissions=["cancel"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=REJECT)

    @admin.action(description=_("Run again…"), permissions=["rerun"])
    def rerun(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=RERUN)

    @admin.action(description=_("Compensate…"), permissions=["compensate"])
    def compensate(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=COMPENSATE)
