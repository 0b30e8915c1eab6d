"""The verbs of operators, for the API, the admin and the commands alike.

Each verb locks the transaction, checks the state, changes rows and writes who did what and why, in one database
transaction. Of two operators one wins and the other is told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _

from dist_task.errors import Gone, IllegalMove, InvalidRequest, NotFound
from dist_task.executors.callback import RunName
from dist_task.models import LogEvent, TaskRun
from dist_task.states import (
    COMPENSATION_MOVES,
    WHOLE,
    CompensationStatus,
    ExceptionStatus,
    Op,
    Resolution,
    RunStatus,
    TransactionStatus,
    WaitsFor,
    sources,
)
from exceptions_app.models import ExceptionRecord
from flows.definition import FlowDefinition, TaskSpec
from flows.registry_rows import load
from flows.retry import RetryPolicy
from transactions.models import Transaction

from .store import batch, counts, leases, verbs

LONGEST_DELAY_SECONDS = 30 * 86_400
LONGEST_REMARK = 2_000
SUCCESS, FAILURE, HEARTBEAT = CALLBACK_RESULTS = ("success", "failure", "heartbeat")


@transaction.atomic
def retry_transaction(instance_id: str, *, actor: str, remark: str = "") -> Transaction:
    """All failed task runs of a failed transaction are tried again now, with the input they had."""
    _reach_from_above(instance_id)
    return retry_again(instance_id, actor=actor, remark=remark)


def retry_again(instance_id: str, *, actor: str, remark: str) -> Transaction:
    """The same for the transaction above, whose row is locked and which is at it itself."""
    txn = _locked(instance_id)
    if txn.status != TransactionStatus.FAILED:
        message = _("only a failed transaction can be retried; %(id)s is %(status)s")
        raise IllegalMove(message % {"id": instance_id, "status": txn.get_status_display()})
    _refuse_undone(txn)
    runs = list(TaskRun.objects.filter(transaction=txn, status=RunStatus.FAILED).defer("input", "output"))
    now = _database_now()
    _schedule(txn, runs=runs, due_at=now)
    _log(
        txn,
        event=LogEvent.RETRIED,
        actor=actor,
        remark=remark,
        detail={"tasks": sorted({run.task_id for run in runs})},
    )
    _reopen(txn, due_at=now)
    return _committed(txn)


@transaction.atomic
def cancel_transaction(instance_id: str, *, actor: str, remark: str = "") -> Transaction:
    """Nothing starts after this. Attempts in flight end first: until then the transaction is `cancelling`.

    So it is where work goes on elsewhere: nobody can say of it that it was not done.
    """
    txn = _locked(instance_id)
    if txn.status in (TransactionStatus.SUCCESS, TransactionStatus.CANCELLED):
        message = _("%(id)s is %(status)s and cannot be cancelled")
        raise IllegalMove(message % {"id": instance_id, "status": txn.get_status_display()})
    _refuse_undone(txn)
    was_failed = txn.status == TransactionStatus.FAILED
    detail = {"before": txn.status}
    verbs.ask_descendants_to_cancel(txn, actor=actor, message=_("with the transaction that started it"))
    if not was_failed and (verbs.is_under_way(txn) or txn.owes_parent):  # a worker tells the parent
        verbs.ask_to_cancel(txn)
    else:
        with connection.cursor() as cursor:
            batch.cancel_runs(cursor, transaction_ids=[txn.pk])
            batch.finish(cursor, transaction_ids=[txn.pk], status=TransactionStatus.CANCELLED)
            if was_failed:
                counts.take_back(cursor, flow_id=txn.flow_id, status=TransactionStatus.FAILED)
    _log(txn, event=LogEvent.CANCELLED, actor=actor, remark=remark, detail=detail)
    return _committed(txn)


@transaction.atomic
def compensate_transaction(instance_id: str, *, actor: str, remark: str = "") -> Transaction:
    """What an ended transaction has done is undone, its status stays. A failed compensation goes on where it failed."""
    txn = _locked(instance_id)
    if not txn.is_final or txn.compensation not in sources(COMPENSATION_MOVES, to=CompensationStatus.RUNNING):
        message = _("%(id)s is %(status)s, its compensation %(compensation)s: it cannot be compensated now")
        words = {"status": txn.get_status_display(), "compensation": txn.get_compensation_display()}
        raise IllegalMove(message % {"id": instance_id, **words})
    undoing = TaskRun.objects.filter(transaction=txn, op=Op.COMPENSATE, status=RunStatus.FAILED)
    failed = list(undoing.defer("input", "output"))
    now = _database_now()
    _schedule(txn, runs=failed, due_at=now)
    detail = {"before": txn.compensation, "op": Op.COMPENSATE, "tasks": sorted({run.task_id for run in failed})}
    _log(txn, event=LogEvent.RETRIED if failed else LogEvent.COMPENSATING, actor=actor, remark=remark, detail=detail)
    _undo(txn, due_at=now)
    return _committed(txn)


@transaction.atomic
def decide_approval(
    instance_id: str,
    task_id: str,
    *,
    item: int = WHOLE,
    approve: bool,
    actor: str,
    roles: Collection[str] | None,
    remark: str = "",
) -> Transaction:
    """A person says whether the transaction goes on; of two the first one counts.

    `item` is the number of one of a task with `foreach`. `roles` are the actor's groups, None for who may decide
    everywhere.
    """
    txn = _locked(instance_id)
    run = verbs.waiting_approvals(txn).filter(task_id=task_id, item=item).first()
    if run is None or txn.cancelling:
        message = _("no approval of %(id)s waits under the name %(task)s")
        named = task_id[:64] if item == WHOLE else f"{task_id[:64]}/{item}"
        raise IllegalMove(message % {"id": instance_id, "task": named})
    needed = _spec(txn, run=run).config.get("role")
    if needed and roles is not None and needed not in roles:
        raise IllegalMove(_("only members of %(role)s may decide this") % {"role": needed})
    remark = _checked_remark(remark)
    verbs.answer(run_id=run.pk, value=_decision(approve, actor=actor, remark=remark), waits_for=WaitsFor.APPROVAL)
    _log(txn, event=LogEvent.ANSWERED, actor=actor, remark=remark, detail={"approved": approve}, run=run)
    verbs.wake(txn)
    return _committed(txn)


@transaction.atomic
def take_callback(name: RunName, *, result: str, answer: Mapping[str, Any]) -> Transaction:
    """What a service says of work that it went on with; the first answer counts, Gone for a later one.

    `result` is `success`, `failure` or `heartbeat`, `answer` may hold `output`, or `code` and `message`.
    """
    txn = _locked(name.instance_id)
    run = TaskRun.objects.filter(transaction=txn, task_id=name.task_id, op=name.op, item=name.item).first()
    if run is None:
        raise NotFound(_("nobody waits for this callback"))
    if result == HEARTBEAT:
        is_in_time = verbs.is_awaited(run_id=run.pk)
        if seconds := _spec(txn, run=run).config.get("callback_within"):
            verbs.prolong(run_id=run.pk, seconds=seconds)
    else:
        is_in_time = verbs.call_back(run_id=run.pk, value=_called_back(result, answer=answer))
    if not is_in_time:
        raise Gone(_("the task %(task)s waits for no callback any more") % {"task": run.task_id})
    detail = {"result": result}
    _log(txn, event=LogEvent.ANSWERED, actor="callback", remark=answer.get("message", ""), detail=detail, run=run)
    verbs.wake(txn)
    return _committed(txn)


def _called_back(result: str, *, answer: Mapping[str, Any]) -> dict[str, object]:
    if result == SUCCESS:
        return {"ok": True, "output": answer.get("output")}
    message = answer.get("message") or _("the service called back that it failed")
    return {"ok": False, "code": answer.get("code") or "CALLBACK_FAILED", "message": message}


def _decision(approve: bool, *, actor: str, remark: str) -> dict[str, object]:
    if approve:
        return {"ok": True, "output": {"approved_by": actor, "remark": remark}}
    message = _("%(actor)s rejected it: %(remark)s") if remark else _("%(actor)s rejected it")
    return {"ok": False, "code": "REJECTED", "message": message % {"actor": actor, "remark": remark}}


@transaction.atomic
def retry_exception(
    exception_id: int,
    *,
    actor: str,
    delay_seconds: float | None = None,
    force: bool = False,
    remark: str = "",
) -> ExceptionRecord:
    """Schedules the task run at now + `delay_seconds` (default: the interval of its policy; 0 is now)."""
    above = ExceptionRecord.objects.filter(pk=exception_id, op=Op.ACTION).values_list("transaction__instance_id")
    for (instance_id,) in above:
        _reach_from_above(instance_id)
    record, txn = _locked_exception(exception_id)
    _retry(record, txn=txn, actor=actor, delay_seconds=delay_seconds, force=force, remark=remark)
    record.refresh_from_db()
    return record


def _retry(
    record: ExceptionRecord, *, txn: Transaction, actor: str, delay_seconds: float | None, force: bool, remark: str
) -> None:
    run = record.run
    policy = _spec(txn, run=run).retry
    _check_retry(record, txn=txn, run=run, policy=policy, force=force)
    due_at = _database_now() + timedelta(seconds=_delay(delay_seconds, policy=policy))
    _schedule(txn, runs=[run], due_at=due_at)
    detail = {"exception": record.pk, "due_at": due_at.isoformat(), "force": force}
    _log(txn, event=LogEvent.RETRIED, actor=actor, remark=remark, detail=detail, run=run)
    if run.op == Op.COMPENSATE and txn.compensation == CompensationStatus.FAILED:
        _undo(txn, due_at=due_at)
    elif run.op == Op.ACTION and txn.status == TransactionStatus.FAILED:
        _reopen(txn, due_at=due_at)
    else:
        verbs.wake(txn, due_at=due_at)
    _committed(txn)


def retry_repaired(txn: Transaction, *, run: TaskRun, remark: str) -> None:
    """The failure of a run was repaired elsewhere: it is tried again, unless a person handled it, or it is too late."""
    record = ExceptionRecord.objects.unhandled().filter(run=run).first()
    if record is None:
        return
    try:
        _retry(record, txn=txn, actor="system", delay_seconds=0.0, force=True, remark=remark)
    except IllegalMove as error:
        _log(txn, event=LogEvent.ANSWERED, actor="system", remark=str(error), detail={}, run=run)


@transaction.atomic
def handle_exception(
    exception_id: int, *, actor: str, remark: str = "", resolution: str = Resolution.ACKNOWLEDGED
) -> ExceptionRecord:
    """Marks it as handled and runs nothing; where retries are left, handling stops them."""
    if resolution not in Resolution.values:
        message = _("resolution must be one of %(choices)s")
        raise InvalidRequest(message % {"choices": ", ".join(Resolution.values)})
    record, txn = _locked_exception(exception_id)
    remark = _checked_remark(remark)
    before = record.status
    handled = verbs.mark_handled(exception_id=record.pk, actor=actor, remark=remark, resolution=resolution)
    if not handled:
        raise IllegalMove(_already_handled(record))
    if before == ExceptionStatus.RETRYING:
        verbs.give_up_run(run_id=record.run_id)
        verbs.wake(txn)
    detail = {"exception": record.pk, "before": before, "resolution": resolution}
    _log(txn, event=LogEvent.HANDLED, actor=actor, remark=remark, detail=detail, run=record.run)
    _committed(txn)
    record.refresh_from_db()
    return record


def _locked(instance_id: str) -> Transaction:
    found = Transaction.objects.filter(instance_id=instance_id).values_list("pk", flat=True).first()
    if found is None:
        raise NotFound(_("transaction %(id)s does not exist") % {"id": instance_id[:64]})
    return verbs.lock(found)


def _locked_exception(exception_id: int) -> tuple[ExceptionRecord, Transaction]:
    """Locks the transaction first, as everybody does, and reads the record under that lock."""
    found = ExceptionRecord.objects.filter(pk=exception_id).values_list("transaction_id", flat=True).first()
    if found is None:
        raise NotFound(_("exception %(id)s does not exist") % {"id": exception_id})
    txn = verbs.lock(found)
    return ExceptionRecord.objects.select_related("run", "transaction").get(pk=exception_id), txn


def _check_retry(record: ExceptionRecord, *, txn: Transaction, run: TaskRun, policy: RetryPolicy, force: bool) -> None:
    if record.status == ExceptionStatus.HANDLED:
        raise IllegalMove(_already_handled(record))
    if run.op == Op.ACTION:
        _refuse_undone(txn)
    is_over = run.op == Op.ACTION and txn.status in (TransactionStatus.SUCCESS, TransactionStatus.CANCELLED)
    if is_over or txn.cancelling:
        message = _("the status of the transaction %(id)s is %(status)s: its tasks can no longer be retried")
        shown = _("being cancelled") if txn.cancelling else txn.get_status_display()
        raise IllegalMove(message % {"id": txn.instance_id, "status": shown})
    if run.status not in (RunStatus.FAILED, RunStatus.PENDING):
        message = _("the task %(task)s is %(status)s right now")
        raise IllegalMove(message % {"task": run.task_id, "status": run.get_status_display()})
    if policy.strategy == "no_retry" and not force:
        raise IllegalMove(_("the task %(task)s must not be retried; force overrides that") % {"task": run.task_id})


def _already_handled(record: ExceptionRecord) -> str:
    message = _("exception %(id)s was handled by %(actor)s already")
    return message % {"id": record.pk, "actor": record.handled_by or "?"}


def _delay(delay_seconds: float | None, *, policy: RetryPolicy) -> float:
    seconds = policy.interval if delay_seconds is None else delay_seconds
    if not 0 <= seconds <= LONGEST_DELAY_SECONDS:
        raise InvalidRequest(_("delay must be from 0 to %(most)d seconds") % {"most": LONGEST_DELAY_SECONDS})
    return seconds


def _schedule(txn: Transaction, *, runs: list[TaskRun], due_at: datetime) -> None:
    """Runs become due with a fresh budget of automatic attempts, and their exceptions say when. With an item goes its
    task, which has failed for it: at once, since it is what lets each item begin at its own time."""
    definition = load(txn.flow)
    tasks = _tasks_of_items(txn, runs=runs)
    known = {run.pk for run in tasks}
    for due, group in ((due_at, [run for run in runs if run.pk not in known]), (_database_now(), tasks)):
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


def _reopen(txn: Transaction, *, due_at: datetime) -> None:
    if not verbs.reopen(txn, due_at=due_at):
        raise IllegalMove(_("the transaction %(id)s was changed by somebody else") % {"id": txn.instance_id})
    with connection.cursor() as cursor:
        counts.take_back(cursor, flow_id=txn.flow_id, status=TransactionStatus.FAILED)


def _undo(txn: Transaction, *, due_at: datetime) -> None:
    if not verbs.undo(txn, due_at=due_at):
        raise IllegalMove(_("the transaction %(id)s was changed by somebody else") % {"id": txn.instance_id})


def _refuse_undone(txn: Transaction) -> None:
    """Forward work and its undoing never go side by side."""
    if txn.compensation != CompensationStatus.NONE:
        message = _("compensation of %(id)s has begun: its tasks can no longer be run or given up")
        raise IllegalMove(message % {"id": txn.instance_id})


def _reach_from_above(instance_id: str) -> None:
    """Before the row of the transaction itself is locked: those above come first, as everywhere."""
    if (over := verbs.reach_from_above(instance_id)) is not None:
        message = _("%(id)s has started it, and is cancelled or undone: nothing of it can be retried any more")
        raise IllegalMove(message % {"id": over})


def _spec(txn: Transaction, *, run: TaskRun) -> TaskSpec:
    """Of the task, or of its compensation."""
    return _spec_in(load(txn.flow), run=run)


def _spec_in(definition: FlowDefinition, *, run: TaskRun) -> TaskSpec:
    spec = definition.tasks[run.task_id]
    return spec.compensate or spec if run.op == Op.COMPENSATE else spec


def _checked_remark(remark: str) -> str:
    if len(remark) > LONGEST_REMARK:
        raise InvalidRequest(_("remark must have at most %(most)d characters") % {"most": LONGEST_REMARK})
    return remark


def _log(
    txn: Transaction,
    *,
    event: LogEvent,
    actor: str,
    remark: str,
    detail: Mapping[str, object],
    run: TaskRun | None = None,
) -> None:
    of = {} if run is None else {"task_id": run.task_id, "op": run.op, "item": run.item, "attempt": run.attempt}
    verbs.write_log(txn, event=event, actor=actor, message=_checked_remark(remark), detail=dict(detail), **of)


def _committed(txn: Transaction) -> Transaction:
    """The row as it will be committed; workers are told after that."""
    transaction.on_commit(_notify)
    txn.refresh_from_db()
    return txn


def _notify() -> None:
    with connection.cursor() as cursor:
        leases.notify_all(cursor)


def _database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
