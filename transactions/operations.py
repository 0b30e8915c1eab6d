"""What operators do with transactions in the console: each verb with its form, and what the page says before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils.functional import lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console.confirm import Detail, Operation, Told, each
from dist_task.console.rerun_page import RerunForm
from dist_task.engine import operate as verbs
from dist_task.engine.four_eyes import rule
from dist_task.engine.store.verbs import waiting_approvals
from dist_task.errors import IllegalMove
from dist_task.four_eyes.words import Act
from dist_task.models import TaskRun
from dist_task.roles import roles_of
from transactions.approvals import details_of, name_of
from transactions.undoing import Undoing, undoing_of_all

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


def _plans_of(txns: Sequence[Any]) -> list[Told]:
    """What undoing each would do, in its order."""
    plans = undoing_of_all(txns)
    return [Told(_plan(txn, plan=plans[txn.pk])) for txn in txns]


def _plan(txn: Any, *, plan: Sequence[Undoing]) -> str:
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
    waiting = [run for run in _approvals_of([txn])[txn.pk] if run.pk in shown]
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


def _approvals_of(txns: Sequence[Any]) -> dict[int, list[TaskRun]]:
    """Those that wait, by transaction; one query."""
    found: dict[int, list[TaskRun]] = {txn.pk: [] for txn in txns}
    for run in waiting_approvals(*txns).defer("input", "output").order_by("id"):
        found[run.transaction_id].append(run)
    return found


def _approvals_told(txns: Sequence[Any]) -> list[Told]:
    """What waits by its name, and of the first of it what the flow asks. Three queries."""
    waiting = _approvals_of(txns)
    details = details_of([(txn, waiting[txn.pk]) for txn in txns])
    return [
        _approval_told(txn, waiting=waiting[txn.pk][:MOST_NAMES], details=said)
        for txn, said in zip(txns, details, strict=True)
    ]


def _approval_told(txn: Any, *, waiting: Sequence[TaskRun], details: Sequence[Detail]) -> Told:
    text = gettext("%(state)s; waits for: %(tasks)s")
    named = {"state": _state_of(txn), "tasks": _listed(waiting) or gettext("nothing")}
    return Told(text % named, seen=",".join(str(run.pk) for run in waiting), details=details)


def _listed(runs: Iterable[TaskRun]) -> str:
    return ", ".join(map(name_of, runs))


def _pause(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    verbs.pause_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    return gettext("it is paused")


def _resume(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    verbs.resume_transaction(txn.instance_id, actor=request.user.get_username(), remark=values["remark"])
    return gettext("it goes on")


def _rerun(request: HttpRequest, txn: Any, values: dict[str, Any]) -> str:
    given = {"tasks": values["tasks"] or (), "force": values["force"], "remark": values["remark"]}
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
    describe=each(_state_of),
)
RESUME = Operation(
    action="resume",
    title=_("Resume transactions"),
    consequence=_("They go on at once, and so does what they have started. The flow's time limit counts anew."),
    apply=_resume,
    describe=each(_state_of),
)


APPROVE = Operation(
    action="approve",
    title=_("Approve"),
    consequence=_("Each transaction goes on where it waits for an approval. Those that wait for none are refused."),
    apply=partial(_decide, approve=True),
    describe=_approvals_told,
)
REJECT = Operation(
    action="reject",
    title=_("Reject"),
    consequence=_(
        "The tasks that wait for an approval fail, with your remark, and what depends on them does not start."
    ),
    apply=partial(_decide, approve=False),
    describe=_approvals_told,
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
    describe=each(_state_of),
)
CANCEL = Operation(
    action="cancel",
    title=_("Cancel transactions"),
    consequence=_(
        "Nothing new starts. Attempts in flight end and are recorded. What has been done is not undone, "
        "and a cancelled transaction cannot go on."
    ),
    apply=_cancel,
    describe=each(_state_of),
    dangerous=True,
)


COMPENSATE = Operation(
    action="compensate",
    title=_("Compensate transactions"),
    consequence=lazy(_consequence_of_compensating, str)(),
    apply=_compensate,
    describe=_plans_of,
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
    describe=each(_state_of),
    form=RerunForm,
    dangerous=True,
)
