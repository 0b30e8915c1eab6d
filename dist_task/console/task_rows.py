"""The tasks of a transaction as rows: those of the definition, each with its run where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dist_task.console.display import of_direction, span, state_of_run
from dist_task.console.panel import Key, address
from dist_task.models import TaskRun
from dist_task.states import ExceptionStatus, Op, RunStatus, TransactionStatus
from flows.definition import FlowDefinition
from transactions.models import Transaction

ORDER = (RunStatus.PENDING, ExceptionStatus.RETRYING, *RunStatus.values[1:])
"""Of states in a summary."""


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
    url: str
    is_selected: bool


def task_rows(
    txn: Transaction,
    *,
    runs: Sequence[TaskRun],
    definition: FlowDefinition | None,
    now: datetime,
    selected: Key | None = None,
) -> list[TaskRow]:
    """One row per task in the order of the definition, then its compensations and items."""
    by_task: dict[str, list[TaskRun]] = {}
    for run in runs:
        by_task.setdefault(run.task_id, []).append(run)
    rows: list[TaskRow] = []
    for spec in definition.tasks.values() if definition else ():
        about = (spec.id, spec.name, spec.type, ", ".join(spec.depends_on[:10]))
        found: list[TaskRun | None] = [*by_task.pop(spec.id, [])]
        rows += [_row(txn, about=about, run=run, now=now, selected=selected) for run in found or [None]]
    strays = [run for left in by_task.values() for run in left]
    return rows + [_row(txn, about=(run.task_id, "", "", ""), run=run, now=now, selected=selected) for run in strays]


def _row(
    txn: Transaction,
    *,
    about: tuple[str, str, str, str],
    run: TaskRun | None,
    now: datetime,
    selected: Key | None,
) -> TaskRow:
    task_id, name, kind, depends_on = about
    key: Key = (task_id, run.op, run.item) if run else (task_id, Op.ACTION, -1)
    if run is None:
        status, word = unbegun(txn)
        return TaskRow(*about, status, word, None, "–", address(key), key == selected)
    name = of_direction(name or task_id, run.op)
    if run.item >= 0:
        name = f"{name} [{run.item}]"
    ended_at = now if run.status == RunStatus.RUNNING else run.finished_at  # a run that waits to try again has none
    took = span(ended_at - run.started_at) if run.started_at and ended_at else "–"
    return TaskRow(task_id, name, kind, depends_on, *state_of_run(run), run, took, address(key), key == selected)


def unbegun(txn: Transaction) -> tuple[str, str]:
    """Status and word of a task that has no row yet."""
    stopped = txn.status == TransactionStatus.CANCELLED
    status = RunStatus.CANCELLED if stopped else RunStatus.PENDING
    return status.value, str(status.label)


def telling(rows: list[TaskRow], *, most: int) -> list[TaskRow]:
    """All where they fit; else those that are not well before the others, each in its order."""
    if len(rows) <= most:
        return rows
    well = (RunStatus.SUCCESS, RunStatus.SKIPPED, RunStatus.PENDING)
    return sorted(rows, key=lambda row: row.status in well)[:most]


def counts(rows: Sequence[TaskRow]) -> list[tuple[str, str, int]]:
    """Status, word and number, of the forward tasks."""
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.run is None or row.run.op == Op.ACTION:
            key = (row.status, row.word)
            found[key] = found.get(key, 0) + 1
    return sorted(((*words, count) for words, count in found.items()), key=lambda each: ORDER.index(each[0]))
