"""How a transaction is undone, or would be: for the API and the console."""

from __future__ import annotations

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
    """What is undone in this order, and what is passed over; two queries."""
    runs = TaskRun.objects.filter(transaction=txn)
    forth = runs.filter(op=Op.ACTION).values_list("task_id", "status", "maybe_executed", "item")
    back = runs.filter(op=Op.COMPENSATE, item=WHOLE).defer("input", "output")
    by_task = {run.task_id: run for run in back}
    done = [Done(*row) for row in forth]
    return [Undoing(step, by_task.get(step.task_id)) for step in steps(load(txn.flow), done=done)]


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
