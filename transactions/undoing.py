"""How a transaction is undone, or would be: for the API and the console."""

from __future__ import annotations

from typing import NamedTuple

from dist_task.engine.compensate import Done, UndoStep, steps
from dist_task.models import TaskRun
from dist_task.states import Op
from flows.registry_rows import load

from .models import Transaction


class Undoing(NamedTuple):
    """`run` is the compensation's, None where it has not begun."""

    step: UndoStep
    run: TaskRun | None


def undoing_of(txn: Transaction) -> list[Undoing]:
    """What is undone in this order, and what is passed over; two queries."""
    runs = TaskRun.objects.filter(transaction=txn, item=-1).defer("input", "output")
    by_op: dict[str, dict[str, TaskRun]] = {Op.ACTION: {}, Op.COMPENSATE: {}}
    for run in runs:
        by_op[run.op][run.task_id] = run
    done = [Done(run.task_id, run.status, run.maybe_executed) for run in by_op[Op.ACTION].values()]
    return [Undoing(step, by_op[Op.COMPENSATE].get(step.task_id)) for step in steps(load(txn.flow), done=done)]
