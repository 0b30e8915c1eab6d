"""The facts behind "why is it not moving?", for one transaction or a few, in a bounded number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _

from dist_task.console.standstill import Reason, Retry, Standing, why
from dist_task.models import TaskRun
from dist_task.states import RunStatus, WaitsFor
from flows.definition import FlowDefinition
from transactions.models import Transaction

MOST_NAMED = 10
MOST_RUNS = 1_000
MOST_WORKERS = 1_000
SURROUNDINGS = """
    SELECT clock_timestamp(), w.id, w.cluster, w.host, w.pid, w.lease_until, w.idle, w.seen_at
    FROM (SELECT 1) AS one LEFT JOIN dist_task_worker w ON w.lease_until > clock_timestamp() OR w.id = ANY(%s)
    LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class LiveWorker:
    id: int
    cluster: str
    host: str
    pid: int
    lease_until: datetime
    is_idle: bool
    seen_at: datetime

    @property
    def name(self) -> str:
        return f"{self.host}:{self.pid}#{self.id}"


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    hosts: int
    live: int
    idle: int
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The database's clock, which leases and due times are on, and the workers that live or were asked for."""

    now: datetime
    workers: tuple[LiveWorker, ...] = ()

    @property
    def living(self) -> list[LiveWorker]:
        return [worker for worker in self.workers if worker.lease_until > self.now]

    def owner(self, worker_id: int | None) -> LiveWorker | None:
        return next((worker for worker in self.workers if worker.id == worker_id), None)

    @property
    def clusters(self) -> list[Cluster]:
        by_name: dict[str, list[LiveWorker]] = {}
        for worker in self.living:
            by_name.setdefault(worker.cluster, []).append(worker)
        return [_cluster(name, workers=workers) for name, workers in sorted(by_name.items())]


def _cluster(name: str, *, workers: Sequence[LiveWorker]) -> Cluster:
    hosts = {worker.host for worker in workers}
    idle = sum(worker.is_idle for worker in workers)
    return Cluster(name, len(hosts), len(workers), idle, max(worker.seen_at for worker in workers))


def surroundings(owners: Iterable[int | None] = ()) -> Surroundings:
    with connection.cursor() as cursor:
        cursor.execute(SURROUNDINGS, [[owner for owner in owners if owner is not None], MOST_WORKERS])
        rows = cursor.fetchall()
    return Surroundings(rows[0][0], tuple(LiveWorker(*row[1:]) for row in rows if row[1] is not None))


def explain(
    txn: Transaction,
    *,
    around: Surroundings,
    runs: Sequence[TaskRun],
    open_exceptions: int,
    definition: FlowDefinition | None = None,
) -> Reason:
    """`definition` says which role an approval asks for; without it the sentence leaves that out."""
    owner = around.owner(txn.owner)
    living = around.living
    to_retry = [run for run in runs if run.status == RunStatus.PENDING and run.due_at and run.attempt]
    waiting = [run for run in runs if run.status == RunStatus.WAITING]
    return why(
        Standing(
            now=around.now,
            status=txn.status,
            compensation=txn.compensation,
            cancelling=txn.cancelling,
            paused=txn.paused,
            wake_at=txn.wake_at,
            owner=txn.owner,
            owner_name=owner.name if owner else "",
            owner_lease_until=owner.lease_until if owner else None,
            running=tuple(run.task_id for run in runs if run.status == RunStatus.RUNNING)[:MOST_NAMED],
            waiting={run.task_id: _awaited(run, definition=definition) for run in waiting[:MOST_NAMED]},
            to_retry={run.task_id: Retry(run.attempt, run.attempt_budget) for run in to_retry[:MOST_NAMED]},
            open_exceptions=open_exceptions,
            live_workers=len(living),
            idle_workers=sum(worker.is_idle for worker in living),
        )
    )


def _awaited(run: TaskRun, *, definition: FlowDefinition | None) -> str:
    """What ends the wait, in words."""
    spec = definition.tasks.get(run.task_id) if definition else None
    if run.waits_for == WaitsFor.APPROVAL and spec is not None:
        spec = spec.compensate or spec if run.op == "compensate" else spec
        if role := spec.config.get("role"):
            return _("an approval by %(role)s") % {"role": role}
    return str(run.get_waits_for_display())


def explain_all(found: Sequence[Any], *, around: Surroundings) -> list[tuple[Any, Reason]]:
    """The same for a few transactions that are annotated with `open_exceptions`, in one query."""
    going_on = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING)
    narrow = ("transaction_id", "task_id", "op", "status", "attempt", "attempt_budget", "due_at", "waits_for")
    rows = TaskRun.objects.filter(transaction__in=[txn.pk for txn in found], status__in=going_on).only(*narrow)
    runs: dict[Any, list[TaskRun]] = {}
    for run in rows[:MOST_RUNS] if found else ():
        runs.setdefault(run.transaction_id, []).append(run)
    return [
        (txn, explain(txn, around=around, runs=runs.get(txn.pk, []), open_exceptions=txn.open_exceptions))
        for txn in found
    ]
