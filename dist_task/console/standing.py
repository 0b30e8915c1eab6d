"""The facts behind "why is it not moving?", for one transaction or a few, in a bounded number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count
from django.utils.translation import gettext as _

from dist_task.console.standstill import Reason, Retry, Standing, why
from dist_task.models import TaskRun
from dist_task.states import ExceptionStatus, RunStatus, WaitsFor
from exceptions_app.models import ExceptionRecord
from flows.definition import FlowDefinition
from transactions.models import Transaction

MOST_NAMED = 10
MOST_RUNS = 1_000
SURROUNDINGS = """
    SELECT clock_timestamp(), live.live, live.idle, w.id, w.host, w.pid, w.lease_until
    FROM (SELECT count(*) AS live, count(*) FILTER (WHERE idle) AS idle
          FROM dist_task_worker WHERE lease_until > clock_timestamp()) AS live
    LEFT JOIN dist_task_worker w ON w.id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The database's clock, which leases and due times are on, and the workers."""

    now: datetime
    live: int
    idle: int
    owners: Mapping[int, tuple[str, datetime]] = field(default_factory=dict)  # id to name and end of lease


def surroundings(owners: Iterable[int | None] = ()) -> Surroundings:
    with connection.cursor() as cursor:
        cursor.execute(SURROUNDINGS, [[owner for owner in owners if owner is not None]])
        rows = cursor.fetchall()
    now, live, idle = rows[0][:3]
    found = {row[3]: (f"{row[4]}:{row[5]}#{row[3]}", row[6]) for row in rows if row[3] is not None}
    return Surroundings(now, live, idle, found)


def explain(
    txn: Transaction,
    *,
    around: Surroundings,
    runs: Sequence[TaskRun],
    open_exceptions: int,
    definition: FlowDefinition | None = None,
) -> Reason:
    """`definition` says which role an approval asks for; without it the sentence leaves that out."""
    name, lease_until = around.owners.get(txn.owner or 0, ("", None))
    to_retry = [run for run in runs if run.status == RunStatus.PENDING and run.due_at and run.attempt]
    waiting = [run for run in runs if run.status == RunStatus.WAITING]
    return why(
        Standing(
            now=around.now,
            status=txn.status,
            compensation=txn.compensation,
            cancelling=txn.cancelling,
            wake_at=txn.wake_at,
            owner=txn.owner,
            owner_name=name,
            owner_lease_until=lease_until,
            running=tuple(run.task_id for run in runs if run.status == RunStatus.RUNNING)[:MOST_NAMED],
            waiting={run.task_id: _awaited(run, definition=definition) for run in waiting[:MOST_NAMED]},
            to_retry={run.task_id: Retry(run.attempt, run.attempt_budget) for run in to_retry[:MOST_NAMED]},
            open_exceptions=open_exceptions,
            live_workers=around.live,
            idle_workers=around.idle,
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


def explain_all(found: Sequence[Transaction]) -> list[tuple[Transaction, Reason]]:
    """The same for a few transactions of a list, in three queries."""
    around = surroundings(txn.owner for txn in found)
    ids = [txn.pk for txn in found]
    going_on = (RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING)
    runs: dict[Any, list[TaskRun]] = {}
    narrow = ("transaction_id", "task_id", "op", "status", "attempt", "attempt_budget", "due_at", "waits_for")
    for run in TaskRun.objects.filter(transaction__in=ids, status__in=going_on).only(*narrow)[:MOST_RUNS]:
        runs.setdefault(run.transaction_id, []).append(run)
    opened = ExceptionRecord.objects.filter(transaction__in=ids, status=ExceptionStatus.OPEN).order_by()
    counts = dict(opened.values_list("transaction_id").annotate(Count("id")))
    return [
        (txn, explain(txn, around=around, runs=runs.get(txn.pk, []), open_exceptions=counts.get(txn.pk, 0)))
        for txn in found
    ]
