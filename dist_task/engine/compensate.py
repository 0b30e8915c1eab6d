"""Undoing: which task runs are undone, and in which order. Pure.

What has succeeded is undone, and what may have been executed; a task after all its dependents, independent ones side by
side. A task that says no `compensate` is passed over: it is in nobody's way, and is listed. (Sources: Seata's Saga
mode, which counts an unknown outcome in; DTM, which never undoes what did not start.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dist_task.states import WHOLE, CompensationStatus, RunStatus
from flows.definition import FlowDefinition, TaskSpec

from .moves import Compensated, RunState
from .plan import Ends, Progress

ENDS = Ends(Compensated(CompensationStatus.DONE), Compensated(CompensationStatus.FAILED))


class Done(NamedTuple):
    """What a forward run left, that of a task or of one of its items.

    `maybe_executed`: an attempt of it had no definite answer.
    """

    task_id: str
    status: str
    maybe_executed: bool
    item: int = WHOLE

    @property
    def is_to_be_undone(self) -> bool:
        return self.status == RunStatus.SUCCESS or self.maybe_executed


class UndoStep(NamedTuple):
    """A task that has done something, as undoing it sees it.

    `step` counts from 1; those of one step run side by side. `is_undone` is False for one that is passed over.
    `items` is how many of it have done something, None where it has none.
    """

    task_id: str
    name: str
    step: int
    is_undone: bool
    maybe_executed: bool
    items: int | None = None


@dataclass(frozen=True, slots=True)
class Backwards:
    """The graph of a flow with its edges turned round: a graph of compensations."""

    tasks: Mapping[str, TaskSpec]  # as in the flow; those without `compensate` are passed over
    dependents: Mapping[str, tuple[str, ...]]
    fan_in: Mapping[str, int]
    roots: tuple[str, ...]


def backwards(definition: FlowDefinition) -> Backwards:
    fan_in = {task_id: len(definition.dependents.get(task_id, ())) for task_id in definition.tasks}
    return Backwards(
        tasks={task_id: task.compensate or task for task_id, task in definition.tasks.items()},
        dependents={task_id: task.depends_on for task_id, task in definition.tasks.items()},
        fan_in=fan_in,
        roots=tuple(task_id for task_id, count in fan_in.items() if not count),
    )


def to_undo(definition: FlowDefinition, *, done: Iterable[Done]) -> frozenset[str]:
    """The tasks that get a compensation."""
    undone = _did_something(definition, done=done)
    return frozenset(task_id for task_id in undone if definition.tasks[task_id].compensate is not None)


def items_to_undo(done: Iterable[Done]) -> dict[str, list[int]]:
    """Task to those of its items that have done something, the last one first."""
    items: dict[str, list[int]] = {}
    for each in done:
        if each.item != WHOLE and each.is_to_be_undone:
            items.setdefault(each.task_id, []).append(each.item)
    return {task_id: sorted(indexes, reverse=True) for task_id, indexes in items.items()}


def _did_something(definition: FlowDefinition, *, done: Iterable[Done]) -> dict[str, bool]:
    """The tasks of which something is to be undone, and whether an attempt of it had no definite answer. A task with
    items has done what these have."""
    found: dict[str, bool] = {}
    for each in done:
        is_of_items = definition.tasks[each.task_id].foreach is not None
        if each.is_to_be_undone and is_of_items == (each.item != WHOLE):
            found[each.task_id] = found.get(each.task_id, False) or each.maybe_executed
    return found


def steps(definition: FlowDefinition, *, done: Iterable[Done]) -> list[UndoStep]:
    """What undoing would do, or does, in its order; the last that was done comes first."""
    done = list(done)
    by_task, items = _did_something(definition, done=done), items_to_undo(done)
    step_after: dict[str, int] = {}
    found = []
    for task_id in reversed(definition.order):
        task = definition.tasks[task_id]
        step = max((step_after[dependent] for dependent in definition.dependents.get(task_id, ())), default=1)
        is_undone = task_id in by_task and task.compensate is not None
        step_after[task_id] = step + is_undone
        if task_id in by_task:
            count = len(items[task_id]) if task_id in items else None
            found.append(UndoStep(task_id, task.name, step, is_undone, by_task[task_id], count))
    return sorted(found, key=lambda each: each.step)


def progress(graph: Backwards, *, undo: frozenset[str], runs: Iterable[RunState]) -> Progress:
    """How far undoing is; `runs` are the compensations."""
    return Progress.over(graph, ends=ENDS, runs=runs, passed_over=frozenset(graph.tasks) - undo)
