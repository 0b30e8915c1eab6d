"""What an operator says of a task run instead of its service: that it is passed over, or that it was done."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from dist_task.engine.remarks import checked_reason
from dist_task.engine.store import verbs
from dist_task.errors import IllegalMove
from dist_task.models import LogEvent, TaskRun
from dist_task.problems import InvalidValue, Problem
from dist_task.states import (
    WHOLE,
    CompensationStatus,
    ExceptionStatus,
    Op,
    Resolution,
    RunStatus,
    TransactionStatus,
    WaitsFor,
)
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .frame import (
    already_handled,
    committed,
    database_now,
    locked,
    locked_exception,
    log,
    refuse_run_again,
    refuse_undone,
    reopen,
    schedule,
    undo,
)
from .given import checked_output, for_audit, is_fan

BY_HAND = (RunStatus.PENDING, RunStatus.FAILED)
OF_A_SERVICE = (WaitsFor.SERVICE, WaitsFor.CALLBACK)


@transaction.atomic
def skip_run(exception_id: int, *, actor: str, remark: str, output: Any = None, force: bool = False) -> ExceptionRecord:
    """The failed task is passed over, and the flow goes on with `output` in place of what it would have given.

    One that may have been executed takes `force`, and is undone all the same. A compensation that is skipped counts as
    done. With an item its task goes on once no other item of it has failed.
    """
    remark, output = checked_reason(remark), checked_output(output)
    record, txn = locked_exception(exception_id, goes_on=True)
    _check(record, txn=txn, force=force)
    _refuse_doubt(record.run, force=force)
    if record.run.item == WHOLE and is_fan(txn, run=record.run):
        _refuse_items(txn, run=record.run)
        if not isinstance(output, list | None):
            raise InvalidValue([Problem("output", _("must be a list: the task has items"))])
    _settle(record, txn=txn, status=RunStatus.SKIPPED, actor=actor, remark=remark, output=output, force=force)
    return record


@transaction.atomic
def complete_run(
    exception_id: int, *, actor: str, remark: str, output: Any = None, force: bool = False
) -> ExceptionRecord:
    """The task was done elsewhere and gave `output`: it counts as a success, and is undone like one.

    One that waits for its service is answered in its place.
    """
    remark, output = checked_reason(remark), checked_output(output)
    record, txn = locked_exception(exception_id, goes_on=True)
    run = record.run
    _check(record, txn=txn, force=force, may_wait=True)
    if run.status == RunStatus.WAITING:
        _answer(run, txn=txn, actor=actor, remark=remark, output=output)
        record.refresh_from_db()
        return record
    if run.item == WHOLE and is_fan(txn, run=run):
        _refuse_items(txn, run=run, always=True)
    _settle(record, txn=txn, status=RunStatus.SUCCESS, actor=actor, remark=remark, output=output, force=force)
    return record


@transaction.atomic
def complete_wait(
    instance_id: str,
    task_id: str,
    *,
    actor: str,
    remark: str,
    item: int = WHOLE,
    op: str = Op.ACTION,
    output: Any = None,
) -> Transaction:
    """The same of a task that waits for its service or a callback, and has not failed: it has no exception."""
    remark, output = checked_reason(remark), checked_output(output)
    txn = locked(instance_id)
    run = TaskRun.objects.filter(transaction=txn, task_id=task_id, item=item, op=op).first()
    if run is None or not _awaits_service(run) or txn.cancelling:
        message = _("no task of %(id)s waits for its service under the name %(task)s")
        named = task_id[:64] if item == WHOLE else f"{task_id[:64]}/{item}"
        raise IllegalMove(message % {"id": instance_id, "task": named})
    _answer(run, txn=txn, actor=actor, remark=remark, output=output)
    return committed(txn)


def _check(record: ExceptionRecord, *, txn: Transaction, force: bool, may_wait: bool = False) -> None:
    run = record.run
    if record.status == ExceptionStatus.HANDLED and not force:
        message = already_handled(record)
        if run.status == RunStatus.FAILED:  # handling alone runs nothing
            message = _("%(refusal)s; force overrides that") % {"refusal": message}
        raise IllegalMove(message)
    if run.op == Op.ACTION:
        refuse_undone(txn)
        refuse_run_again(txn)
    is_over = run.op == Op.ACTION and txn.status in (TransactionStatus.SUCCESS, TransactionStatus.CANCELLED)
    if is_over or txn.cancelling:
        message = _(
            "the status of the transaction %(id)s is %(status)s: its tasks can no longer be skipped or completed"
        )
        shown = _("being cancelled") if txn.cancelling else txn.get_status_display()
        raise IllegalMove(message % {"id": txn.instance_id, "status": shown})
    if run.status not in BY_HAND and not (may_wait and _awaits_service(run)):
        message = _("the task %(task)s is %(status)s right now")
        raise IllegalMove(message % {"task": run.task_id, "status": run.get_status_display()})


def _awaits_service(run: TaskRun) -> bool:
    return run.status == RunStatus.WAITING and run.waits_for in OF_A_SERVICE


def _refuse_doubt(run: TaskRun, *, force: bool) -> None:
    if run.maybe_executed and not force:
        message = _("the task %(task)s may have been executed: complete it if it was; force overrides that")
        raise IllegalMove(message % {"task": run.task_id})


def _refuse_items(txn: Transaction, *, run: TaskRun, always: bool = False) -> None:
    if always or TaskRun.objects.filter(transaction=txn, task_id=run.task_id, op=run.op, item__gte=0).exists():
        message = _("the task %(task)s has items: skip or complete those that failed")
        raise IllegalMove(message % {"task": run.task_id})


def _settle(
    record: ExceptionRecord, *, txn: Transaction, status: RunStatus, actor: str, remark: str, output: Any, force: bool
) -> None:
    run = record.run
    is_skipped = status == RunStatus.SKIPPED
    if not verbs.settle_run(run_id=run.pk, status=status, output=output):
        raise IllegalMove(_("the transaction %(id)s was changed by somebody else") % {"id": txn.instance_id})
    resolution = Resolution.SKIPPED if is_skipped else Resolution.FIXED_EXTERNALLY
    _close(run, actor=actor, remark=remark, resolution=resolution)
    detail = {
        "exception": record.pk,
        "before": {"status": run.status, "exception": record.status, "answer": for_audit(run.answer)},
        "after": {"status": status.value, "exception": ExceptionStatus.HANDLED.value, "output": for_audit(output)},
        "force": force,
    }
    event = LogEvent.SKIPPED if is_skipped else LogEvent.COMPLETED
    log(txn, event=event, actor=actor, remark=remark, detail=detail, run=run)
    _go_on(txn, run=run)
    committed(txn)
    record.refresh_from_db()


def _go_on(txn: Transaction, *, run: TaskRun) -> None:
    """From where a run has come to stand well. A task with items has not, as long as another of them has failed."""
    now = database_now()
    items = TaskRun.objects.filter(transaction=txn, task_id=run.task_id, op=run.op, item__gte=0)
    still_fails = run.item != WHOLE and items.filter(status=RunStatus.FAILED).exists()
    if run.item != WHOLE and not still_fails:
        whole = TaskRun.objects.filter(transaction=txn, task_id=run.task_id, op=run.op, item=WHOLE)
        schedule(txn, runs=list(whole.filter(status=RunStatus.FAILED)), due_at=now)
    if run.op == Op.COMPENSATE and txn.compensation == CompensationStatus.FAILED:
        if not still_fails:
            undo(txn, due_at=now)
    elif run.op == Op.ACTION and txn.status == TransactionStatus.FAILED:
        if not still_fails:
            reopen(txn, due_at=now)
    else:
        verbs.wake(txn)


def _answer(run: TaskRun, *, txn: Transaction, actor: str, remark: str, output: Any) -> None:
    """In place of the service, and as it would: a worker takes it up, and writes what became of the attempt."""
    if not verbs.call_back(run_id=run.pk, value={"ok": True, "output": output}):
        raise IllegalMove(_("an answer for the task %(task)s came first") % {"task": run.task_id})
    detail = {
        "exception": _close(run, actor=actor, remark=remark, resolution=Resolution.FIXED_EXTERNALLY),
        "before": {"status": run.status, "waits_for": run.waits_for},
        "after": {"result": "success", "output": for_audit(output)},
    }
    log(txn, event=LogEvent.ANSWERED, actor=actor, remark=remark, detail=detail, run=run)
    verbs.wake(txn)
    committed(txn)


def _close(run: TaskRun, *, actor: str, remark: str, resolution: Resolution) -> int | None:
    """The exception of the run that nobody has handled, if there is one; its id."""
    record = ExceptionRecord.objects.unhandled().filter(run=run).first()
    if record is None:
        return None
    verbs.mark_handled(exception_id=record.pk, actor=actor, remark=remark, resolution=resolution)
    return record.pk
