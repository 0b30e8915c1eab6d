"""What a person changes: each function expects the transaction's row locked by `lock`, and writes conditionally.

A verb works on a transaction that somebody owns right now: raising the revision makes the owner plan again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Case, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, When
from django.db.models.functions import Coalesce, Greatest, Least, Now
from django.utils.translation import gettext as _

from dist_task.errors import NotFound
from dist_task.models import ExecutionLog, LogEvent, TaskRun
from dist_task.states import (
    COMPENSATION_MOVES,
    ELSEWHERE,
    EXCEPTION_MOVES,
    RUN_MOVES,
    WHOLE,
    CompensationStatus,
    ExceptionStatus,
    Op,
    RunStatus,
    TransactionStatus,
    WaitsFor,
    sources,
)
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from . import kin

HAS_PARENT = ExpressionWrapper(Q(parent__isnull=False), output_field=BooleanField())
"""Who is asked for something by its parent, or goes on after its end, owes an answer."""
PAUSABLE = Q(completed_at__isnull=True) | Q(compensation=CompensationStatus.RUNNING)
"""What has something left to do."""


def lock(transaction_id: int) -> Transaction:
    """The row, locked. Not `FOR UPDATE`: inserting a row that refers to it is no reason to wait.

    Raises NotFound where it was removed meanwhile.
    """
    rows = Transaction.objects.select_for_update(no_key=True, of=("self",)).select_related("flow")
    try:
        return rows.get(pk=transaction_id)
    except Transaction.DoesNotExist:
        raise NotFound(_("this transaction does not exist any more")) from None


def is_under_way(transaction: Transaction) -> bool:
    """Whether an attempt is in flight, or somebody outside is at it."""
    under_way = Q(status=RunStatus.RUNNING) | Q(status=RunStatus.WAITING, waits_for__in=[*ELSEWHERE, WaitsFor.CHILD])
    return TaskRun.objects.filter(under_way, transaction=transaction).exists()


def waiting_approvals(*transactions: Transaction) -> QuerySet[TaskRun]:
    """Those that nobody has decided yet."""
    return TaskRun.objects.filter(
        transaction__in=transactions, status=RunStatus.WAITING, waits_for=WaitsFor.APPROVAL, answer__isnull=True
    )


def schedule_runs(*, run_ids: list[int], budgets: dict[int, int], due_at: datetime) -> int:
    """Failed or waiting-for-retry runs become due at `due_at`; `budgets`: run to its last automatic attempt."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE dist_task_taskrun r
            SET status = 'pending', due_at = %s, finished_at = NULL, attempt_budget = wanted.budget, deadline_at = NULL
            FROM unnest(%s::bigint[], %s::int[]) AS wanted(id, budget)
            WHERE r.id = wanted.id
              AND (r.status = 'pending' OR (r.status = ANY(%s) AND r.finished_at IS NOT NULL))
            """,
            (due_at, run_ids, [budgets[run_id] for run_id in run_ids], list(sources(RUN_MOVES, to=RunStatus.PENDING))),
        )
        return int(cursor.rowcount)


def replace_input(*, run_id: int, value: dict[str, Any]) -> bool:
    """Of a run that has not begun its next attempt. False when it stands otherwise."""
    stands = TaskRun.objects.filter(pk=run_id, status__in=(RunStatus.PENDING, RunStatus.FAILED))
    return bool(stands.update(input=value))


def settle_run(*, run_id: int, status: RunStatus, output: Any) -> bool:
    """A failed run, or one that is to be tried again, becomes skipped or a success by somebody's word. False when it
    stands otherwise."""
    by_hand = (RunStatus.PENDING, RunStatus.FAILED)
    now = Greatest(Now(), Coalesce(F("started_at"), Now()))
    return bool(
        TaskRun.objects.filter(pk=run_id, status__in=by_hand).update(
            status=status,
            output=output,
            answer=None,
            due_at=None,
            finished_at=now,
            error_code="",
            error_message="",
        )
    )


def assign(*, exception_id: int, before: str, assignee: str) -> bool:
    """False when it is not `before` who looks after it, or when it was handled."""
    records = ExceptionRecord.objects.unhandled().filter(pk=exception_id, assignee=before)
    return bool(records.update(assignee=assignee))


def give_up_run(*, run_id: int) -> None:
    """No more attempts by itself: a pending one is failed, one in flight is not repeated.

    A task one of whose items is to be tried again goes on for that one.
    """
    under_way = (RunStatus.RUNNING, RunStatus.WAITING)
    TaskRun.objects.filter(pk=run_id, status__in=under_way).update(attempt_budget=F("attempt"))
    items = TaskRun.objects.filter(transaction_id=OuterRef("transaction_id"), task_id=OuterRef("task_id"))
    its_items = items.filter(op=OuterRef("op"), item__gte=0, status=RunStatus.PENDING)
    goes_on = Q(item=WHOLE) & Exists(its_items)
    TaskRun.objects.filter(pk=run_id, status=RunStatus.PENDING).exclude(goes_on).update(
        status=RunStatus.FAILED, due_at=None, finished_at=Now(), attempt_budget=F("attempt")
    )


def answer(*, run_id: int, value: dict[str, Any], waits_for: str) -> bool:
    """Keeps what came from outside for the worker that takes it up; False when somebody answered first, or it is over.

    `value`: `ok`, and `output` or `code` and `message`.
    """
    return bool(
        TaskRun.objects.filter(pk=run_id, status=RunStatus.WAITING, waits_for=waits_for, answer__isnull=True).update(
            answer=value, due_at=Now()
        )
    )


def call_back(*, run_id: int, value: dict[str, Any]) -> bool:
    """Like `answer`, of what a service may answer at any time until the run has ended; False when that is too late.

    Where no attempt waits for it right now it is kept: an attempt that ends without a success gives way to it.
    """
    open_run = TaskRun.objects.filter(pk=run_id, answer__isnull=True)
    is_waiting = Q(status=RunStatus.WAITING, waits_for__in=(WaitsFor.CALLBACK, WaitsFor.SERVICE, WaitsFor.CHILD))
    return bool(
        open_run.filter(is_waiting).update(answer=value, waits_for=WaitsFor.CALLBACK, due_at=Now())
        or open_run.filter(status__in=(RunStatus.RUNNING, RunStatus.PENDING)).update(answer=value)
    )


def is_awaited(*, run_id: int) -> bool:
    """Whether `call_back` would be in time."""
    statuses = (RunStatus.WAITING, RunStatus.RUNNING, RunStatus.PENDING)
    return TaskRun.objects.filter(pk=run_id, answer__isnull=True, status__in=statuses).exists()


def prolong(*, run_id: int, seconds: float) -> None:
    """The wait for a callback ends so many seconds from now at the earliest."""
    TaskRun.objects.filter(pk=run_id, status=RunStatus.WAITING, waits_for=WaitsFor.CALLBACK).update(
        due_at=Now() + timedelta(seconds=seconds)
    )


def wake(transaction: Transaction, *, due_at: datetime | None = None) -> None:
    """Makes the transaction due at `due_at` (default: now) at the latest, and its owner plan again. One that is paused
    and that nobody holds is due when it is resumed.

    `Coalesce` first: in PostgreSQL LEAST leaves nulls out, elsewhere it does not, and the reader should not wonder.
    """
    when = Now() if due_at is None else due_at
    stands_still = When(paused=True, owner__isnull=True, then=F("wake_at"))
    Transaction.objects.filter(pk=transaction.pk).update(
        revision=F("revision") + 1, wake_at=Case(stands_still, default=Least(Coalesce(F("wake_at"), when), when))
    )


def reopen(transaction: Transaction, *, due_at: datetime) -> bool:
    """failed -> pending; the flow's timeout counts anew from then on. False when it is not failed."""
    return bool(
        Transaction.objects.filter(pk=transaction.pk, status=TransactionStatus.FAILED).update(
            status=TransactionStatus.PENDING,
            completed_at=None,
            resumed_at=due_at,
            owes_parent=HAS_PARENT,
            revision=F("revision") + 1,
            wake_at=due_at,
        )
    )


def undo(transaction: Transaction, *, due_at: datetime) -> bool:
    """Compensation begins, or goes on after it failed. False when it may not."""
    may = sources(COMPENSATION_MOVES, to=CompensationStatus.RUNNING)
    return bool(
        Transaction.objects.filter(pk=transaction.pk, completed_at__isnull=False, compensation__in=may).update(
            compensation=CompensationStatus.RUNNING,
            owes_parent=HAS_PARENT,
            revision=F("revision") + 1,
            wake_at=due_at,
        )
    )


def ask_to_cancel(transaction: Transaction) -> None:
    """Attempts are in flight: nothing more starts, and their owner cancels when they have ended."""
    Transaction.objects.filter(pk=transaction.pk).update(cancelling=True, paused=False)
    wake(transaction)


def ask_descendants_to_cancel(transaction: Transaction, *, actor: str, message: str) -> None:
    """All that a transaction has started, and what that has started, as far as it has not ended. One that is being
    undone is left to that.

    Until nobody is left: while one was waited for, it may have started another, which no look before that shows.
    """
    given = {"id": transaction.pk, "event": LogEvent.CANCELLED.value, "actor": actor, "message": message}
    while _turn_descendants(
        "cancelling = true, paused = false, wake_at = LEAST(COALESCE(wake_at, clock_timestamp()), clock_timestamp())",
        where="t.completed_at IS NULL AND NOT t.cancelling AND t.compensation = 'none'",
        given=given,
    ):
        pass


def pause(transaction: Transaction) -> bool:
    """Nothing of it begins from now on. Who holds it looks at it again, and gives it back once no attempt is in flight.
    False when it is paused already, or has ended."""
    return bool(
        Transaction.objects.filter(PAUSABLE, pk=transaction.pk, paused=False, cancelling=False).update(
            paused=True,
            revision=F("revision") + 1,
            wake_at=Case(When(owner__isnull=False, then=Now()), default=None),
        )
    )


def resume(transaction: Transaction, *, due_at: datetime) -> bool:
    """It goes on, and the flow's timeout counts anew. False when it is not paused."""
    resumed = Transaction.objects.filter(pk=transaction.pk, paused=True).update(
        paused=False, resumed_at=due_at, revision=F("revision") + 1, wake_at=due_at
    )
    if resumed:
        _count_anew([transaction.pk])
    return bool(resumed)


def _count_anew(transaction_ids: list[int]) -> None:
    """The total time of what is to be tried or asked again."""
    is_tried_again = Q(status=RunStatus.PENDING) | Q(status=RunStatus.WAITING, waits_for=WaitsFor.SERVICE)
    runs = TaskRun.objects.filter(is_tried_again, transaction__in=transaction_ids, deadline_at__isnull=False)
    runs.update(deadline_at=None)


def pause_descendants(transaction: Transaction, *, actor: str, message: str) -> None:
    """All that a transaction has started, and what that has started, as `pause` does with one."""
    _turn_descendants(
        "paused = true, wake_at = CASE WHEN t.owner IS NOT NULL THEN clock_timestamp() END",
        where="NOT t.paused AND NOT t.cancelling AND (t.completed_at IS NULL OR t.compensation = 'running')",
        given={"id": transaction.pk, "event": LogEvent.PAUSED.value, "actor": actor, "message": message},
    )


def resume_descendants(transaction: Transaction, *, actor: str, message: str) -> None:
    """As `resume` does with one, also those that were paused by themselves."""
    turned = _turn_descendants(
        "paused = false, resumed_at = clock_timestamp(), wake_at = clock_timestamp()",
        where="t.paused",
        given={"id": transaction.pk, "event": LogEvent.RESUMED.value, "actor": actor, "message": message},
    )
    _count_anew(turned)


def _turn_descendants(change: str, *, where: str, given: dict[str, Any]) -> list[int]:
    """All below a transaction, each with its entry in the log. Locked in the order of ids, as everybody does."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH RECURSIVE below AS (
                SELECT id FROM transactions_transaction WHERE parent_id = %(id)s
                UNION
                SELECT t.id FROM transactions_transaction t JOIN below ON t.parent_id = below.id
            ), open AS MATERIALIZED (
                SELECT t.id FROM transactions_transaction t JOIN below ON t.id = below.id
                WHERE {where} ORDER BY t.id FOR NO KEY UPDATE OF t
            ), turned AS (
                UPDATE transactions_transaction t SET {change}, revision = revision + 1
                FROM open WHERE t.id = open.id RETURNING t.id
            )
            INSERT INTO dist_task_executionlog (transaction_id, event, actor, message)
            SELECT id, %(event)s, %(actor)s, %(message)s FROM turned RETURNING transaction_id
            """,  # noqa: S608  # parts of ours
            given,
        )
        return [row[0] for row in cursor.fetchall()]


def mark_retrying(*, exception_ids: list[int], retry_next_at: datetime) -> int:
    return ExceptionRecord.objects.filter(
        pk__in=exception_ids,
        status__in=[*sources(EXCEPTION_MOVES, to=ExceptionStatus.RETRYING), ExceptionStatus.RETRYING],
    ).update(status=ExceptionStatus.RETRYING, retry_next_at=retry_next_at)


def mark_handled(*, exception_id: int, actor: str, remark: str, resolution: str) -> bool:
    """False when somebody else handled it first."""
    return bool(
        ExceptionRecord.objects.filter(
            pk=exception_id, status__in=sources(EXCEPTION_MOVES, to=ExceptionStatus.HANDLED)
        ).update(**_handled(actor=actor, remark=remark, resolution=resolution))
    )


def close_exceptions(transaction: Transaction, *, actor: str, remark: str, resolution: str) -> int:
    """All that nobody has handled of a transaction that cannot go on, and of the forward work of what it has started;
    how many."""
    reached = Q(transaction=transaction) | Q(transaction__in=kin.forward_below(transaction), op=Op.ACTION)
    records = ExceptionRecord.objects.unhandled().filter(reached)
    return records.update(**_handled(actor=actor, remark=remark, resolution=resolution))


def _handled(*, actor: str, remark: str, resolution: str) -> dict[str, Any]:
    """The columns of an exception that somebody has handled now."""
    return {
        "status": ExceptionStatus.HANDLED,
        "handled_at": Now(),
        "handled_by": actor,
        "remark": remark,
        "resolution": resolution,
        "retry_next_at": None,
    }


_batch: ContextVar[int | None] = ContextVar("batch", default=None)


@contextmanager
def logged_as_of(batch_id: int) -> Iterator[None]:
    """What is written into the log meanwhile names this batch in its detail."""
    token = _batch.set(batch_id)
    try:
        yield
    finally:
        _batch.reset(token)


def write_log(
    transaction: Transaction, *, event: LogEvent, actor: str, message: str, detail: dict[str, Any], **of: Any
) -> None:
    """One append-only row: who, when, why, before and after. `of` names the task run where there is one."""
    if (batch_id := _batch.get()) is not None:
        detail = {**detail, "batch": batch_id}
    ExecutionLog.objects.create(transaction=transaction, event=event, actor=actor, message=message, detail=detail, **of)
