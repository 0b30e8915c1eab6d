"""What comes from outside for a task run that waits: decisions of people, callbacks of services."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from dist_task.engine.remarks import checked_reason
from dist_task.engine.store import verbs
from dist_task.errors import Gone, IllegalMove, NotFound
from dist_task.executors.callback import RunName
from dist_task.models import LogEvent, TaskRun
from dist_task.states import WHOLE, WaitsFor
from transactions.models import Transaction

from .frame import committed, locked, log, spec_of

SUCCESS, FAILURE, HEARTBEAT = CALLBACK_RESULTS = ("success", "failure", "heartbeat")


@transaction.atomic
def decide_approval(
    instance_id: str,
    task_id: str,
    *,
    item: int = WHOLE,
    approve: bool,
    actor: str,
    roles: Collection[str] | None,
    remark: str,
) -> Transaction:
    """A person says whether the transaction goes on; of two the first one counts.

    `item` is the number of one of a task with `foreach`. `roles` are the actor's groups, None for who may decide
    everywhere.
    """
    remark = checked_reason(remark)
    txn = locked(instance_id)
    run = verbs.waiting_approvals(txn).filter(task_id=task_id, item=item).first()
    if run is None or txn.cancelling:
        message = _("no approval of %(id)s waits under the name %(task)s")
        named = task_id[:64] if item == WHOLE else f"{task_id[:64]}/{item}"
        raise IllegalMove(message % {"id": instance_id, "task": named})
    needed = spec_of(txn, run=run).config.get("role")
    if needed and roles is not None and needed not in roles:
        raise IllegalMove(_("only members of %(role)s may decide this") % {"role": needed})
    verbs.answer(run_id=run.pk, value=_decision(approve, actor=actor, remark=remark), waits_for=WaitsFor.APPROVAL)
    log(txn, event=LogEvent.ANSWERED, actor=actor, remark=remark, detail={"approved": approve}, run=run)
    verbs.wake(txn)
    return committed(txn)


@transaction.atomic
def take_callback(name: RunName, *, result: str, answer: Mapping[str, Any]) -> Transaction:
    """What a service says of work that it went on with; the first answer counts, Gone for a later one.

    `result` is `success`, `failure` or `heartbeat`, `answer` may hold `output`, or `code` and `message`.
    """
    txn = locked(name.instance_id)
    run = TaskRun.objects.filter(transaction=txn, task_id=name.task_id, op=name.op, item=name.item).first()
    if run is None:
        raise NotFound(_("nobody waits for this callback"))
    if result == HEARTBEAT:
        is_in_time = verbs.is_awaited(run_id=run.pk)
        if seconds := spec_of(txn, run=run).config.get("callback_within"):
            verbs.prolong(run_id=run.pk, seconds=seconds)
    else:
        is_in_time = verbs.call_back(run_id=run.pk, value=_called_back(result, answer=answer))
    if not is_in_time:
        raise Gone(_("the task %(task)s waits for no callback any more") % {"task": run.task_id})
    detail = {"result": result}
    log(txn, event=LogEvent.ANSWERED, actor="callback", remark=answer.get("message", ""), detail=detail, run=run)
    verbs.wake(txn)
    return committed(txn)


def _called_back(result: str, *, answer: Mapping[str, Any]) -> dict[str, object]:
    if result == SUCCESS:
        return {"ok": True, "output": answer.get("output")}
    message = answer.get("message") or _("the service called back that it failed")
    return {"ok": False, "code": answer.get("code") or "CALLBACK_FAILED", "message": message}


def _decision(approve: bool, *, actor: str, remark: str) -> dict[str, object]:
    if approve:
        return {"ok": True, "output": {"approved_by": actor, "remark": remark}}
    message = _("%(actor)s rejected it: %(remark)s") % {"actor": actor, "remark": remark}
    return {"ok": False, "code": "REJECTED", "message": message}
