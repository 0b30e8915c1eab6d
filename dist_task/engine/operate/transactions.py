"""The verbs of whole transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _

from dist_task.engine.four_eyes import rule
from dist_task.engine.remarks import checked_reason
from dist_task.engine.store import batch, counts, kin, requests, verbs
from dist_task.errors import IllegalMove
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.words import Act, RequestStatus
from dist_task.models import LogEvent, TaskRun
from dist_task.states import COMPENSATION_MOVES, CompensationStatus, Op, RunStatus, TransactionStatus, sources
from transactions.models import Transaction

from .frame import (
    committed,
    database_now,
    locked,
    log,
    reach_from_above,
    refuse_run_again,
    refuse_undone,
    reopen,
    run_again_as,
    schedule,
    undo,
)


@transaction.atomic
def retry_transaction(instance_id: str, *, actor: str, remark: str = "") -> Transaction:
    """All failed task runs of a failed transaction are tried again now, with the input they had."""
    reach_from_above(instance_id)
    return retry_again(instance_id, actor=actor, remark=remark)


def retry_again(instance_id: str, *, actor: str, remark: str) -> Transaction:
    """The same for the transaction above, whose row is locked and which is at it itself."""
    txn = locked(instance_id)
    if txn.status != TransactionStatus.FAILED:
        message = _("only a failed transaction can be retried; %(id)s is %(status)s")
        raise IllegalMove(message % {"id": instance_id, "status": txn.get_status_display()})
    refuse_undone(txn)
    refuse_run_again(txn)
    runs = list(TaskRun.objects.filter(transaction=txn, status=RunStatus.FAILED).defer("input", "output"))
    now = database_now()
    schedule(txn, runs=runs, due_at=now)
    log(
        txn,
        event=LogEvent.RETRIED,
        actor=actor,
        remark=remark,
        detail={"tasks": sorted({run.task_id for run in runs})},
    )
    reopen(txn, due_at=now)
    return committed(txn)


@transaction.atomic
def cancel_transaction(instance_id: str, *, actor: str, remark: str) -> Transaction:
    """Nothing starts after this. Attempts in flight end first: until then the transaction is `cancelling`.

    So it is where work goes on elsewhere: nobody can say of it that it was not done.
    """
    remark = checked_reason(remark)
    txn = locked(instance_id)
    if txn.status in (TransactionStatus.SUCCESS, TransactionStatus.CANCELLED):
        message = _("%(id)s is %(status)s and cannot be cancelled")
        raise IllegalMove(message % {"id": instance_id, "status": txn.get_status_display()})
    refuse_undone(txn)
    refuse_run_again(txn)
    was_failed = txn.status == TransactionStatus.FAILED
    detail = {"before": txn.status}
    verbs.ask_descendants_to_cancel(txn, actor=actor, message=with_its_parent())
    if not was_failed and (verbs.is_under_way(txn) or txn.owes_parent):  # a worker tells the parent
        verbs.ask_to_cancel(txn)
    else:
        with connection.cursor() as cursor:
            batch.cancel_runs(cursor, transaction_ids=[txn.pk])
            batch.finish(cursor, transaction_ids=[txn.pk], status=TransactionStatus.CANCELLED)
            if was_failed:
                counts.take_back(cursor, flow_id=txn.flow_id, status=TransactionStatus.FAILED)
    log(txn, event=LogEvent.CANCELLED, actor=actor, remark=remark, detail=detail)
    return committed(txn)


@transaction.atomic
def pause_transaction(instance_id: str, *, actor: str, remark: str) -> Transaction:
    """Nothing of it begins after this, nor of what it has started, until it is resumed. Attempts in flight end and are
    recorded; waits go on outside, and what comes of them is kept."""
    remark = checked_reason(remark)
    txn = locked(instance_id)
    if not verbs.pause(txn):
        raise IllegalMove(_why_not_paused(txn))
    detail = {"before": {"paused": False}, "after": {"paused": True}}
    log(txn, event=LogEvent.PAUSED, actor=actor, remark=remark, detail=detail)
    pause_descendants(txn, actor=actor)
    return committed(txn)


def pause_descendants(txn: Transaction, *, actor: str) -> None:
    """What a paused transaction has started stands still as well."""
    verbs.pause_descendants(txn, actor=actor, message=with_its_parent())


@transaction.atomic
def resume_transaction(instance_id: str, *, actor: str, remark: str) -> Transaction:
    """A paused transaction goes on at once, and so does what it has started. Its flow's timeout counts anew."""
    remark = checked_reason(remark)
    txn = locked(instance_id)
    if not verbs.resume(txn, due_at=database_now()):
        raise IllegalMove(_("%(id)s is not paused") % {"id": instance_id})
    detail = {"before": {"paused": True}, "after": {"paused": False}}
    log(txn, event=LogEvent.RESUMED, actor=actor, remark=remark, detail=detail)
    verbs.resume_descendants(txn, actor=actor, message=with_its_parent())
    return committed(txn)


def with_its_parent() -> str:
    return _("with the transaction that started it")


def _why_not_paused(txn: Transaction) -> str:
    if txn.paused:
        return _("%(id)s is paused already") % {"id": txn.instance_id}
    shown = _("being cancelled") if txn.cancelling else txn.get_status_display()
    return _("%(id)s is %(status)s and cannot be paused") % {"id": txn.instance_id, "status": shown}


@transaction.atomic
def compensate_transaction(instance_id: str, *, actor: str, remark: str) -> Transaction:
    """What an ended transaction has done is undone, its status stays. A failed compensation goes on where it failed.

    Where the four-eyes rule is on it is only asked for: `awaiting_request` finds what a second person is to approve.
    """
    remark = checked_reason(remark)
    if not rule.is_needed(Act.COMPENSATE):
        return undo_transaction(instance_id, actor=actor, remark=remark)
    _refuse_above(instance_id)
    txn = locked(instance_id)
    check_compensable(txn)
    _write_off_outdated(txn)
    if (other := awaiting_request(txn)) is not None:
        message = _("compensation of %(id)s was asked for by %(actor)s already, and awaits a second person")
        raise IllegalMove(message % {"id": instance_id, "actor": other.asked_by})
    request = rule.make_request(
        act=Act.COMPENSATE, actor=actor, remark=remark, transaction=txn, arguments=standing(txn)
    )
    detail = {"request": request.pk, "act": request.act, "expires_at": request.expires_at.isoformat()}
    log(txn, event=LogEvent.REQUESTED, actor=actor, remark=remark, detail=detail)
    return txn


@transaction.atomic
def undo_transaction(
    instance_id: str, *, actor: str, remark: str, approval: Mapping[str, object] | None = None
) -> Transaction:
    """The same for who needs nobody's approval: an item of a batch, what two people have agreed on.

    `approval`: what the log says of those two.
    """
    _refuse_above(instance_id)
    return undo_below(instance_id, actor=actor, remark=remark, approval=approval)


def undo_below(
    instance_id: str, *, actor: str, remark: str, approval: Mapping[str, object] | None = None
) -> Transaction:
    """The same for the transaction above, whose row is locked and which is undone itself."""
    txn = locked(instance_id)
    check_compensable(txn)
    undoing = TaskRun.objects.filter(transaction=txn, op=Op.COMPENSATE, status=RunStatus.FAILED)
    failed = list(undoing.defer("input", "output"))
    now = database_now()
    schedule(txn, runs=failed, due_at=now)
    detail = {"before": txn.compensation, "op": Op.COMPENSATE, "tasks": sorted({run.task_id for run in failed})}
    event = LogEvent.RETRIED if failed else LogEvent.COMPENSATING
    log(txn, event=event, actor=actor, remark=remark, detail={**detail, **(approval or {})})
    undo(txn, due_at=now)
    return committed(txn)


def check_compensable(txn: Transaction) -> None:
    if not txn.is_final or txn.compensation not in sources(COMPENSATION_MOVES, to=CompensationStatus.RUNNING):
        message = _("%(id)s is %(status)s, its compensation %(compensation)s: it cannot be compensated now")
        words = {"status": txn.get_status_display(), "compensation": txn.get_compensation_display()}
        raise IllegalMove(message % {"id": txn.instance_id, **words})
    _refuse_base(txn)


def standing(txn: Transaction) -> dict[str, Any]:
    """How it stands, as far as asking to undo it depends on that. One that has gone on since has another end."""
    ended = txn.completed_at.isoformat() if txn.completed_at else None
    return {"status": txn.status, "compensation": txn.compensation, "completed_at": ended}


def awaiting_request(txn: Transaction) -> ApprovalRequest | None:
    """That its compensation be approved, as long as that is possible."""
    request = ApprovalRequest.objects.awaiting().filter(transaction=txn).first()
    return request if request is not None and request.arguments == standing(txn) else None


def _write_off_outdated(txn: Transaction) -> None:
    """Nobody can approve any more what is over its time, or what the transaction has gone on from."""
    request = ApprovalRequest.objects.filter(transaction=txn, status=RequestStatus.AWAITING).first()
    if request is None or awaiting_request(txn) is not None:
        return
    remark = _("it was asked for again, and could no longer be approved")
    requests.decide(request.pk, to=RequestStatus.EXPIRED, actor=rule.SYSTEM, remark=remark)
    detail = {"request": request.pk, "asked_by": request.asked_by}
    log(txn, event=LogEvent.EXPIRED, actor=rule.SYSTEM, remark=remark, detail=detail)


def _refuse_above(instance_id: str) -> None:
    """The same of what has started it; those are locked, as everywhere before its own row."""
    kin.lock_above(instance_id)
    if (again := kin.stands_on_above(instance_id)) is not None:
        message = _("what has started %(id)s was run again as %(again)s, which stands on it: compensate that one first")
        raise IllegalMove(message % {"id": instance_id, "again": again})


def _refuse_base(txn: Transaction) -> None:
    """The last thing first: what was run again stands on what it has carried over from here."""
    again = run_again_as(txn)
    if again is not None and again.compensation != CompensationStatus.DONE:
        message = _("%(id)s was run again as %(again)s, which stands on it: compensate that one first")
        raise IllegalMove(message % {"id": txn.instance_id, "again": again.instance_id})
