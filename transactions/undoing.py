"""How a transaction is undone, or would be: for the API and the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dist_task.engine.compensate import Done, UndoStep, steps
from dist_task.models import TaskRun
from dist_task.states import WHOLE, Op
from flows.registry_rows import load

from .models import Transaction


class Undoing(NamedTuple):
    """`run` is the compensation's, None where it has not begun."""

    step: UndoStep
    run: TaskRun | None


def undoing_of(txn: Transaction) -> list[Undoing]:
    """What is undone in this order, and what is passed over."""
    return undoing_of_all([txn])[txn.pk]


def undoing_of_all(txns: Sequence[Transaction]) -> dict[int, list[Undoing]]:
    """The same by transaction; two queries for any number of them, whose flows are there."""
    runs = TaskRun.objects.filter(transaction__in=[txn.pk for txn in txns])
    done: dict[int, list[Done]] = {txn.pk: [] for txn in txns}
    columns = ("transaction_id", "task_id", "status", "maybe_executed", "item")
    for transaction_id, *forth in runs.filter(op=Op.ACTION).values_list(*columns):
        done[transaction_id].append(Done(*forth))
    back = runs.filter(op=Op.COMPENSATE, item=WHOLE).defer("input", "output")
    by_task = {(run.transaction_id, run.task_id): run for run in back}
    return {
        txn.pk: [
            Undoing(step, by_task.get((txn.pk, step.task_id))) for step in steps(load(txn.flow), done=done[txn.pk])
        ]
        for txn in txns
    }


def undo_entry(undoing: Undoing) -> dict[str, Any]:
    """On the wire."""
    step, run = undoing
    return {
        "task_id": step.task_id,
        "name": step.name,
        "step": step.step,
        "undo": step.is_undone,
        "items": step.items,
        "maybe_executed": step.maybe_executed,
        "status": run.status if run else None,
        "attempt": run.attempt if run else 0,
        "error_message": run.error_message if run else "",
    }
