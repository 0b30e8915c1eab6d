"""Requests for approval in the console: what awaits a second person, and the decision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from dist_task.batches.admin import title_of
from dist_task.batches.models import Batch
from dist_task.batches.pages import preview_page
from dist_task.console import site
from dist_task.console.confirm import Operation, each, operate
from dist_task.console.display import badge, moment, row_link, short
from dist_task.console.keyset import is_list
from dist_task.console.rows import EngineRowAdmin, TabFilter
from dist_task.engine.batches.preview import counted
from dist_task.engine.four_eyes import verbs
from dist_task.errors import InvalidRequest
from transactions.operations import COMPENSATE
from transactions.undoing import undoing_of

from .detail import frozen_rows, tried
from .models import ApprovalRequest
from .rights import awaiting_decision_of, is_own, may_decide, may_decide_some
from .words import RequestStatus

MOST_TASKS = 100
STATE_OF = {
    RequestStatus.AWAITING: "waiting",
    RequestStatus.APPROVED: "success",
    RequestStatus.REJECTED: "failed",
    RequestStatus.WITHDRAWN: "cancelled",
    RequestStatus.EXPIRED: "cancelled",
}
"""The symbols and colours, by the states that have some."""


def what_of(request: ApprovalRequest) -> str:
    if request.batch is not None:
        return f"{title_of(request.batch.target, request.batch.verb)} {request.batch}"
    return gettext("Compensate %(id)s") % {"id": request.transaction}


def _described(request: Any) -> str:
    """What would be done, who asked for it, and why."""
    words = {"actor": request.asked_by, "remark": request.remark[:300], "what": what_of(request)}
    asked = gettext("%(what)s, asked for by %(actor)s: %(remark)s") % words
    if request.batch is not None:
        count = ngettext("%(count)d row", "%(count)d rows", request.batch.total) % {"count": request.batch.total}
        return f"{asked}; {count}"
    return f"{asked}; {COMPENSATE.describe([request.transaction])[0]}"


def _decided(request: HttpRequest, row: Any, values: dict[str, Any], *, verb: Callable[..., ApprovalRequest]) -> str:
    if verb is not verbs.withdraw and not may_decide(request.user, row):
        raise InvalidRequest(gettext("You may not take this action."))
    after = verb(row.pk, actor=request.user.get_username(), remark=values["remark"])
    return gettext("it is %(status)s now") % {"status": after.get_status_display()}


APPROVE = Operation(
    action="approve",
    title=_("Approve requests"),
    consequence=_(
        "What was asked for is carried out now, in the name of who asked. What is not possible any more is refused, "
        "and nothing of it is done."
    ),
    apply=partial(_decided, verb=verbs.approve),
    describe=each(_described),
    dangerous=True,
)
REJECT = Operation(
    action="reject",
    title=_("Reject requests"),
    consequence=_("Nothing of it is done. Who asked finds your remark, and may ask again."),
    apply=partial(_decided, verb=verbs.reject),
    describe=each(_described),
)
WITHDRAW = Operation(
    action="withdraw",
    title=_("Withdraw requests"),
    consequence=_("Nothing of it is done, and nobody has to decide it any more."),
    apply=partial(_decided, verb=verbs.withdraw),
    describe=each(_described),
)


class RequestTabs(TabFilter):
    title = _("status")
    parameter_name = "status"
    default = "awaiting"
    tabs = (("yours", _("awaits you")), *RequestStatus.choices, ("all", _("all")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "all":
                return queryset
            case "yours":
                return queryset.filter(pk__in=awaiting_decision_of(request.user).order_by().values("pk"))
        return queryset.filter(status=self.value())


def _preview_of(batch: Batch, *, is_trial: bool) -> dict[str, Any]:
    found = tried(batch) if is_trial else counted(frozen_rows(batch), target=batch.target)
    return preview_page(found, target=batch.target)


@admin.register(ApprovalRequest, site=site)
class ApprovalRequestAdmin(EngineRowAdmin):
    change_form_template = "admin/approval_request.html"
    list_display = ("number", "what", "state", "why", "who", "until")
    list_display_links = ("number",)
    list_filter = (RequestTabs,)
    list_select_related = ("transaction", "batch")
    ordering = ("-id",)
    sortable_by = ()
    actions = ("approve", "reject", "withdraw")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        heavy = ("params", "flow__definition", "flow__task_definitions", "flow__description")
        rows = super().get_queryset(request).select_related("transaction__flow", "batch")
        return rows.defer(*(f"transaction__{name}" for name in heavy)) if is_list(request) else rows

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return may_decide_some(request.user)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id) if self.has_view_permission(request) else None
        extra = self._page(row, user=request.user) if row else {}
        if row and row.batch and row.is_awaiting and may_decide(request.user, row):
            extra |= _preview_of(row.batch, is_trial="try" in request.GET)
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def _page(self, row: ApprovalRequest, *, user: Any) -> dict[str, Any]:
        own = is_own(user, row)
        found: dict[str, Any] = {
            "row": row,
            "what": what_of(row),
            "badge": self.state(row),
            "is_own": own,
            "can_withdraw": row.is_awaiting and own and may_decide_some(user),
            "can_decide": row.is_awaiting and not own and may_decide(user, row),
            "refusal": verbs.why_not_now(row) if row.is_awaiting else "",
        }
        if row.is_awaiting and row.transaction is not None:
            plan = undoing_of(row.transaction)
            found |= {"plan": plan[:MOST_TASKS], "plan_left_out": max(0, len(plan) - MOST_TASKS)}
        if row.batch is not None:
            found["batch_title"] = title_of(row.batch.target, row.batch.verb)
        return found

    @admin.action(description=_("Approve…"), permissions=["decide"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=APPROVE)

    @admin.action(description=_("Reject…"), permissions=["decide"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=REJECT)

    @admin.action(description=_("Withdraw…"), permissions=["decide"])
    def withdraw(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=WITHDRAW)

    @admin.display(description=_("request"))
    def number(self, row: ApprovalRequest) -> str:
        return str(row)

    @admin.display(description=_("status"))
    def state(self, row: ApprovalRequest) -> str:
        return badge(STATE_OF[RequestStatus(row.status)], word=row.get_status_display())

    @admin.display(description=_("what"))
    def what(self, row: ApprovalRequest) -> SafeString:
        return row_link(row.batch or row.transaction, text=what_of(row))  # type: ignore[arg-type]  # one of the two

    @admin.display(description=_("remark"))
    def why(self, row: ApprovalRequest) -> str:
        return short(row.remark, 80)

    @admin.display(description=_("asked for by"))
    def who(self, row: ApprovalRequest) -> str:
        return short(row.asked_by, 40)

    @admin.display(description=_("expires, or was decided"))
    def until(self, row: ApprovalRequest) -> str:
        if row.is_awaiting:
            return moment(row.expires_at)
        return format_html("{} {}", short(row.decided_by, 40), moment(row.decided_at))
