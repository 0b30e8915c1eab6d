"""Everything that the page of one transaction shows, in a bounded number of queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from dist_task.console.display import ago, list_url, of_direction, span
from dist_task.console.standstill import Reason, Standing, why
from dist_task.models import ExecutionLog, TaskRun, Worker
from dist_task.states import ExceptionStatus, RunStatus, TransactionStatus
from exceptions_app.models import ExceptionRecord
from flows.definition import InvalidDefinition
from flows.models import Flow
from flows.registry_rows import load
from transactions.models import Transaction

MOST_TASKS = 300
MOST_LOG = 100
MOST_EXCEPTIONS = 50


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of the definition, with its run where there is one."""

    task_id: str
    name: str
    type: str
    depends_on: str
    status: str
    word: str
    run: TaskRun | None
    took: str


def page(txn: Transaction, *, user: Any) -> dict[str, Any]:
    now = database_now()
    runs = list(TaskRun.objects.filter(transaction=txn)[: MOST_TASKS * 2])
    exceptions: list[ExceptionRecord] = []
    if user.has_perm("exceptions_app.view_exceptionrecord"):
        exceptions = list(ExceptionRecord.objects.filter(transaction=txn).order_by("-id")[:MOST_EXCEPTIONS])
    log = list(ExecutionLog.objects.filter(transaction=txn).order_by("-id")[: MOST_LOG + 1])
    tasks = task_rows(txn, runs=runs, now=now)
    return {
        "txn": txn,
        "reason": explain(txn, runs=runs, now=now),
        "tasks": tasks[:MOST_TASKS],
        "tasks_left_out": max(0, len(tasks) - MOST_TASKS),
        "log": log[:MOST_LOG][::-1],
        "log_is_cut": len(log) > MOST_LOG,
        "log_url": list_url(ExecutionLog, query=f"transaction__id__exact={txn.pk}"),
        "exceptions": exceptions,
        "duration": ago(txn.created_at, now=txn.completed_at or now),
    }


def database_now() -> datetime:
    """The clock that leases and due times are on; ours may be another."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def task_rows(txn: Transaction, *, runs: list[TaskRun], now: datetime) -> list[TaskRow]:
    """One row per task in the order of the definition, then its compensations and items."""
    by_task: dict[str, list[TaskRun]] = {}
    for run in runs:
        by_task.setdefault(run.task_id, []).append(run)
    rows: list[TaskRow] = []
    for task_id, name, kind, depends_on in _specs(txn.flow):
        found: list[TaskRun | None] = [*by_task.pop(task_id, [])]
        for each in found or [None]:
            rows.append(_row(txn, task=(task_id, name, kind, depends_on), run=each, now=now))
    strays = [run for left in by_task.values() for run in left]
    return rows + [_row(txn, task=(run.task_id, "", "", ""), run=run, now=now) for run in strays]


def _specs(flow: Flow) -> list[tuple[str, str, str, str]]:
    try:
        tasks = load(flow).tasks.values()
    except InvalidDefinition:  # an executor that was taken away since; its runs are shown all the same
        return []
    return [(task.id, task.name, task.type, ", ".join(task.depends_on)) for task in tasks]


def _row(txn: Transaction, *, task: tuple[str, str, str, str], run: TaskRun | None, now: datetime) -> TaskRow:
    if run is None:
        stopped = txn.status == TransactionStatus.CANCELLED
        status = RunStatus.CANCELLED if stopped else RunStatus.PENDING
        return TaskRow(*task, status=status.value, word=str(status.label), run=None, took="–")
    task_id, name, kind, depends_on = task
    name = of_direction(name, run.op)
    if run.item >= 0:
        name = f"{name} [{run.item}]"
    ended_at = now if run.status == RunStatus.RUNNING else run.finished_at  # a run that waits to try again has none
    took = span(ended_at - run.started_at) if run.started_at and ended_at else "–"
    word = str(run.get_status_display())
    return TaskRow(task_id, name, kind, depends_on, status=run.status, word=word, run=run, took=took)


def explain(txn: Transaction, *, runs: list[TaskRun], now: datetime) -> Reason:
    workers = {worker.pk: worker for worker in Worker.objects.filter(lease_until__gt=now)[:1000]}
    owner = workers.get(txn.owner) if txn.owner else None
    waiting = [run for run in runs if run.status == RunStatus.PENDING and run.due_at and run.attempt]
    open_ones = ExceptionRecord.objects.filter(transaction=txn, status=ExceptionStatus.OPEN).count()
    return why(
        Standing(
            now=now,
            status=txn.status,
            compensation=txn.compensation,
            cancelling=txn.cancelling,
            wake_at=txn.wake_at,
            owner=txn.owner,
            owner_name=str(owner or ""),
            owner_lease_until=owner.lease_until if owner else None,
            running=tuple(run.task_id for run in runs if run.status == RunStatus.RUNNING)[:10],
            waiting={run.task_id: str(run.get_waits_for_display()) for run in runs if run.status == RunStatus.WAITING},
            to_retry={run.task_id: run.attempt for run in waiting[:10]},
            open_exceptions=open_ones,
            live_workers=len(workers),
        )
    )
