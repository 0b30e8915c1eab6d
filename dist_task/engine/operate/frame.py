"""What all verbs have in common: the lock, the rows that go on, the entry in the log, the news for workers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import connection, transaction
from django.utils.translation import gettext as _

from dist_task.engine.remarks import checked_remark
from dist_task.engine.store import counts, kin, leases, verbs
from dist_task.errors import IllegalMove, NotFound
from dist_task.models import LogEvent, TaskRun
from dist_task.states import WHOLE, CompensationStatus, Op, RunStatus, TransactionStatus
from exceptions_app.models import ExceptionRecord
from flows.definition import FlowDefinition, TaskSpec
from flows.registry_rows import load
from transactions.models import Transaction


def locked(instance_id: str) -> Transaction:
    found = Transaction.objects.filter(instance_id=instance_id).values_list("pk", flat=True).first()
    if found is None:
        raise NotFound(_("transaction %(id)s does not exist") % {"id": instance_id[:64]})
    return verbs.lock(found)


def reach_from_above(instance_id: str) -> None:
    """Before forward work of a transaction goes on, and before its own row is locked: those above it come first, as
    everywhere. Refused where one of them is cancelled or undone."""
    if (over := kin.reach_from_above(instance_id)) is not None:
        message = _("%(id)s has started it, and is cancelled, undone or run again: nothing of it can go on any more")
        raise IllegalMove(message % {"id": over})


def locked_exception(exception_id: int, *, goes_on: bool = False) -> tuple[ExceptionRecord, Transaction]:
    """Locks the transaction first, as everybody does, and reads the record under that lock.

    `goes_on`: its run is to go on, which those above have to allow (see `reach_from_above`).
    """
    named = ExceptionRecord.objects.filter(pk=exception_id)
    found = named.values_list("transaction_id", "transaction__instance_id", "op").first()
    if found is None:
        raise NotFound(_("exception %(id)s does not exist") % {"id": exception_id})
    transaction_id, instance_id, op = found
    if goes_on and op == Op.ACTION:
        reach_from_above(instance_id)
    txn = verbs.lock(transaction_id)
    return ExceptionRecord.objects.select_related("run", "transaction").get(pk=exception_id), txn


def schedule(txn: Transaction, *, runs: list[TaskRun], due_at: datetime) -> None:
    """Runs become due with a fresh budget of automatic attempts, and their exceptions say when. With an item goes its
    task, which has failed for it: at once, since it is what lets each item begin at its own time."""
    definition = load(txn.flow)
    tasks = _tasks_of_items(txn, runs=runs)
    known = {run.pk for run in tasks}
    for due, group in ((due_at, [run for run in runs if run.pk not in known]), (database_now(), tasks)):
        budgets = {run.pk: run.attempt + _spec_in(definition, run=run).retry.tries for run in group}
        verbs.schedule_runs(run_ids=list(budgets), budgets=budgets, due_at=due)
    runs = runs + tasks
    unhandled = ExceptionRecord.objects.unhandled().filter(run__in=runs)
    verbs.mark_retrying(exception_ids=list(unhandled.values_list("pk", flat=True)), retry_next_at=due_at)


def _tasks_of_items(txn: Transaction, *, runs: list[TaskRun]) -> list[TaskRun]:
    """The runs of tasks that do not wait for their items any more, or not yet, where some of these are to go on."""
    of_items = {(run.task_id, run.op) for run in runs if run.item != WHOLE}
    if not of_items:
        return []
    asleep = TaskRun.objects.filter(transaction=txn, item=WHOLE, status__in=(RunStatus.FAILED, RunStatus.PENDING))
    return [run for run in asleep.defer("input", "output") if (run.task_id, run.op) in of_items]


def reopen(txn: Transaction, *, due_at: datetime) -> None:
    if not verbs.reopen(txn, due_at=due_at):
        raise IllegalMove(_("the transaction %(id)s was changed by somebody else") % {"id": txn.instance_id})
    with connection.cursor() as cursor:
        counts.take_back(cursor, flow_id=txn.flow_id, status=TransactionStatus.FAILED)


def undo(txn: Transaction, *, due_at: datetime) -> None:
    if not verbs.undo(txn, due_at=due_at):
        raise IllegalMove(_("the transaction %(id)s was changed by somebody else") % {"id": txn.instance_id})


def refuse_undone(txn: Transaction) -> None:
    """Forward work and its undoing never go side by side."""
    if txn.compensation != CompensationStatus.NONE:
        message = _("compensation of %(id)s has begun: its tasks can no longer be run or given up")
        raise IllegalMove(message % {"id": txn.instance_id})


def refuse_run_again(txn: Transaction) -> None:
    """What was run again goes on there, and not in two places; also where that one was removed meanwhile."""
    if not txn.was_run_again:
        return
    if (again := run_again_as(txn)) is None:
        message = _("%(id)s was run again as a transaction that does not exist any more: it cannot go on as well")
        raise IllegalMove(message % {"id": txn.instance_id})
    message = _("%(id)s was run again as %(again)s: go on there")
    raise IllegalMove(message % {"id": txn.instance_id, "again": again.instance_id})


def run_again_as(txn: Transaction) -> Transaction | None:
    """The one as which it was run again; of those that stand it is the one that goes on."""
    return Transaction.objects.filter(rerun_of=txn).first()


def already_handled(record: ExceptionRecord) -> str:
    message = _("exception %(id)s was handled by %(actor)s already")
    return message % {"id": record.pk, "actor": record.handled_by or "?"}


def spec_of(txn: Transaction, *, run: TaskRun) -> TaskSpec:
    """Of the task, or of its compensation."""
    return _spec_in(load(txn.flow), run=run)


def _spec_in(definition: FlowDefinition, *, run: TaskRun) -> TaskSpec:
    spec = definition.tasks[run.task_id]
    return spec.compensate or spec if run.op == Op.COMPENSATE else spec


def log(
    txn: Transaction,
    *,
    event: LogEvent,
    actor: str,
    remark: str,
    detail: Mapping[str, object],
    run: TaskRun | None = None,
) -> None:
    of = {} if run is None else {"task_id": run.task_id, "op": run.op, "item": run.item, "attempt": run.attempt}
    verbs.write_log(txn, event=event, actor=actor, message=checked_remark(remark), detail=dict(detail), **of)


def committed(txn: Transaction) -> Transaction:
    """The row as it will be committed; workers are told after that."""
    transaction.on_commit(_notify)
    txn.refresh_from_db()
    return txn


def _notify() -> None:
    with connection.cursor() as cursor:
        leases.notify_all(cursor)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
