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
from django.db.models import BooleanField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Coalesce, Least, Now
from django.utils.translation import gettext as _

from dist_task.errors import NotFound
from dist_task.models import ExecutionLog, LogEvent, TaskRun
from dist_task.states import (
    COMPENSATION_MOVES,
    ELSEWHERE,
    EXCEPTION_MOVES,
    RUN_MOVES,
    CompensationStatus,
    ExceptionStatus,
    RunStatus,
    TransactionStatus,
    WaitsFor,
    sources,
)
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

HAS_PARENT = ExpressionWrapper(Q(parent__isnull=False), output_field=BooleanField())
"""Who is asked for something by its parent, or goes on after its end, owes an answer."""


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


def waiting_approvals(transaction: Transaction) -> QuerySet[TaskRun]:
    """Those that nobody has decided yet."""
    return TaskRun.objects.filter(
        transaction=transaction, status=RunStatus.WAITING, waits_for=WaitsFor.APPROVAL, answer__isnull=True
    )


def schedule_runs(*, run_ids: list[int], budgets: dict[int, int], due_at: datetime) -> int:
    """Failed or waiting-for-retry runs become due at `due_at`; `budgets`: run to its last automatic attempt."""
    runs = TaskRun.objects.filter(pk__in=run_ids).filter(
        Q(status__in=sources(RUN_MOVES, to=RunStatus.PENDING), finished_at__isnull=False) | Q(status=RunStatus.PENDING)
    )
    changed = 0
    for run in runs:
        run.status, run.due_at, run.finished_at = RunStatus.PENDING, due_at, None
        run.attempt_budget, run.deadline_at = budgets[run.pk], None
        run.save(update_fields=["status", "due_at", "finished_at", "attempt_budget", "deadline_at"])
        changed += 1
    return changed


def give_up_run(*, run_id: int) -> None:
    """No more attempts by itself: a pending one is failed, one in flight is not repeated."""
    under_way = (RunStatus.RUNNING, RunStatus.WAITING)
    TaskRun.objects.filter(pk=run_id, status__in=under_way).update(attempt_budget=F("attempt"))
    TaskRun.objects.filter(pk=run_id, status=RunStatus.PENDING).update(
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
    """Makes the transaction due at `due_at` (default: now) at the latest, and its owner plan again.

    `Coalesce` first: in PostgreSQL LEAST leaves nulls out, elsewhere it does not, and the reader should not wonder.
    """
    when = Now() if due_at is None else due_at
    Transaction.objects.filter(pk=transaction.pk).update(
        revision=F("revision") + 1, wake_at=Least(Coalesce(F("wake_at"), when), when)
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
    Transaction.objects.filter(pk=transaction.pk).update(cancelling=True)
    wake(transaction)


def ask_descendants_to_cancel(transaction: Transaction, *, actor: str, message: str) -> None:
    """All that a transaction has started, and what that has started, as far as it has not ended: each has its entry in
    the log. Locked in the order of ids, as everybody does."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE below AS (
                SELECT id FROM transactions_transaction WHERE parent_id = %(id)s
                UNION
                SELECT t.id FROM transactions_transaction t JOIN below ON t.parent_id = below.id
            ), open AS MATERIALIZED (
                SELECT t.id FROM transactions_transaction t JOIN below ON t.id = below.id
                WHERE t.completed_at IS NULL AND NOT t.cancelling ORDER BY t.id FOR NO KEY UPDATE OF t
            ), asked AS (
                UPDATE transactions_transaction t
                SET cancelling = true, revision = revision + 1,
                    wake_at = LEAST(COALESCE(wake_at, clock_timestamp()), clock_timestamp())
                FROM open WHERE t.id = open.id RETURNING t.id
            )
            INSERT INTO dist_task_executionlog (transaction_id, event, actor, message)
            SELECT id, 'cancelled', %(actor)s, %(message)s FROM asked
            """,
            {"id": transaction.pk, "actor": actor, "message": message},
        )


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
        ).update(
            status=ExceptionStatus.HANDLED,
            handled_at=Now(),
            handled_by=actor,
            remark=remark,
            resolution=resolution,
            retry_next_at=None,
        )
    )


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
