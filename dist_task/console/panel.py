"""One task of a transaction: what it was given and gave, its attempts, and what stands in its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from dist_task.console.curl import request_command
from dist_task.console.display import list_url, of_direction, span, state_of_run
from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import Op, RunStatus
from flows.definition import FlowDefinition, TaskSpec
from transactions.models import Transaction

MOST_ATTEMPTS = 4
MOST_BYTES = 1_800
"""Of each piece of JSON: five attempts with request and response have to fit a page."""

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Attempt:
    entry: ExecutionLog
    took: str
    curl: str


@dataclass(frozen=True, slots=True)
class Panel:
    key: Key
    name: str
    spec: TaskSpec | None
    run: TaskRun | None
    status: str
    word: str
    attempts: tuple[Attempt, ...]
    are_cut: bool
    log_url: str

    @property
    def task_id(self) -> str:
        return self.key[0]

    @property
    def most_bytes(self) -> int:
        return MOST_BYTES


def asked_for(query: Any) -> Key | None:
    """The task that an address names: `task`, `op`, `item`."""
    task_id, op, item = query.get("task", ""), query.get("op", Op.ACTION), query.get("item", "-1")
    if not task_id or len(task_id) > 64 or op not in Op.values:
        return None
    return (task_id, op, int(item)) if item.removeprefix("-").isdecimal() and len(item) < 8 else None


def address(key: Key) -> str:
    """Relative to the transaction's page."""
    task_id, op, item = key
    named = {"task": task_id} | ({"op": op} if op != Op.ACTION else {}) | ({"item": item} if item >= 0 else {})
    return f"?{urlencode(named)}#task"


def task_address(txn_id: int, *, key: Key) -> str:
    """Of the task on the page of its transaction."""
    return reverse("admin:transactions_transaction_change", args=(txn_id,)) + address(key)


def most_telling(runs: Sequence[TaskRun], *, definition: FlowDefinition | None) -> Key | None:
    """The run that somebody who opens the page most likely asks about."""
    for status in (RunStatus.FAILED, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.PENDING):
        for run in reversed(runs):
            if run.status == status:
                return run.task_id, run.op, run.item
    if runs:
        return runs[-1].task_id, runs[-1].op, runs[-1].item
    first = next(iter(definition.tasks), None) if definition else None
    return (first, Op.ACTION, -1) if first else None


def panel_of(txn: Transaction, *, key: Key, definition: FlowDefinition | None, word: tuple[str, str]) -> Panel | None:
    """`word`: status and word of a task that has no run. None where no such task is known."""
    task_id, op, item = key
    spec = definition.tasks.get(task_id) if definition else None
    run = TaskRun.objects.filter(transaction=txn, task_id=task_id, op=op, item=item).first()
    if spec is None and run is None:
        return None
    entries: list[ExecutionLog] = []
    if run is not None:
        found = ExecutionLog.objects.filter(
            transaction=txn, task_id=task_id, op=op, item=item, started_at__isnull=False
        )
        entries = list(found.order_by("-id")[: MOST_ATTEMPTS + 1])
    if spec is not None and op == Op.COMPENSATE:
        spec = spec.compensate or spec
    status, text = state_of_run(run) if run else word
    name = of_direction(spec.name if spec else task_id, op)
    return Panel(
        key=key,
        name=name,
        spec=spec,
        run=run,
        status=status,
        word=text,
        attempts=tuple(_attempt(entry) for entry in entries[:MOST_ATTEMPTS]),
        are_cut=len(entries) > MOST_ATTEMPTS,
        log_url=list_url(ExecutionLog, query=urlencode({"transaction": txn.pk, "task": task_id})),
    )


def _attempt(entry: ExecutionLog) -> Attempt:
    took = span(entry.at - entry.started_at) if entry.started_at else "–"
    return Attempt(entry, took, request_command(entry.request))
