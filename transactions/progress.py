"""How far the transactions of a page are: their task runs by status in one query, and their flows' numbers of tasks."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Count, F, Value, When

from dist_task.models import TaskRun
from dist_task.states import ExceptionStatus, Op, RunStatus
from flows.models import Flow

ORDER = ("success", "skipped", "failed", "cancelled", "running", "retrying", "waiting", "pending")
IS_TRIED_AGAIN = When(status=RunStatus.PENDING, attempt__gt=0, then=Value(ExceptionStatus.RETRYING.value))
"""What `display.state_of_run` says of one run, for the database to count."""
LABELS = {**dict(RunStatus.choices), ExceptionStatus.RETRYING: ExceptionStatus.RETRYING.label}
MOST_KNOWN = 10_000
WIDTH = 96
_counts: dict[str, int] = {}  # a flow never changes


@dataclass(frozen=True, slots=True)
class Progress:
    """`segments`: status, or retrying, where it begins and how wide it is, in pixels."""

    segments: tuple[tuple[str, float, float], ...]
    ended: int
    total: int
    spoken: str
    failed: int


def add_progress(rows: Sequence[Any]) -> None:
    """Gives each transaction a `progress`; two queries at most."""
    ids = [txn.pk for txn in rows]
    runs = TaskRun.objects.filter(transaction__in=ids, op=Op.ACTION).order_by()
    found = runs.values_list("transaction_id", Case(IS_TRIED_AGAIN, default=F("status"))).annotate(Count("id"))
    tallies: dict[int, dict[str, int]] = {}
    for txn_id, status, count in found if ids else ():
        tallies.setdefault(txn_id, {})[status] = count
    totals = task_counts({txn.flow_id for txn in rows})
    for txn in rows:
        txn.progress = progress(tallies.get(txn.pk, {}), total=totals.get(txn.flow_id, 0))


def progress(tally: dict[str, int], *, total: int) -> Progress:
    begun = sum(tally.values())
    total = max(total, begun)
    counts = [(status, tally[status]) for status in ORDER if tally.get(status)]
    segments, x = [], 0.0
    for status, count in counts:
        width = WIDTH * count / total
        segments.append((status, round(x, 2), round(width, 2)))
        x += width
    words = [f"{LABELS[status]}: {count}" for status, count in counts]
    ended = sum(tally.get(status, 0) for status in ("success", "skipped"))
    return Progress(tuple(segments), ended, total, ", ".join(words), tally.get("failed", 0))


def task_counts(flow_ids: Collection[str]) -> dict[str, int]:
    """How many tasks each flow has; remembered."""
    unknown = [flow_id for flow_id in flow_ids if flow_id not in _counts]
    if len(_counts) > MOST_KNOWN:
        _counts.clear()
    for flow_id, definition in Flow.objects.filter(pk__in=unknown).values_list("pk", "definition") if unknown else ():
        _counts[flow_id] = _count(definition)
    return {flow_id: _counts.get(flow_id, 0) for flow_id in flow_ids}


def _count(definition: str) -> int:
    try:
        tasks = json.loads(definition).get("tasks")
    except (ValueError, AttributeError, RecursionError):
        return 0
    return len(tasks) if isinstance(tasks, list) else 0
