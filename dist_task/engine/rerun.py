"""What running an ended transaction again would do: which tasks run, and whose outcome is taken over. Pure.

A transaction is run again under a new name (see operate/rerun.py). So its history stays as it was, what it has done can
still be undone, and a service sees other Idempotency-Keys: it does the work, where under the old ones it would answer
that it has done it already.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from dist_task.states import SATISFIED_RUN, WHOLE, RunStatus
from flows.definition import FlowDefinition

LONGEST_ID = 64
FIRST = 2  # a transaction that is run again for the first time is run for the second time
_NAMED = re.compile(r"(.+):r([1-9][0-9]{0,5})", re.DOTALL)


class Forward(NamedTuple):
    """How a forward run of the transaction stands. `is_undone`: its compensation has succeeded, and was not skipped."""

    task_id: str
    item: int
    status: str
    attempt: int
    maybe_executed: bool
    is_undone: bool = False

    @property
    def has_done_something(self) -> bool:
        return (self.status == RunStatus.SUCCESS or self.maybe_executed) and not self.is_undone


class Rerun(NamedTuple):
    """Task ids in the order of the flow. `done`, of those that run, have done something that is not undone: it is done
    again. `untold` were tried without a success, and depend on nothing that runs: who wants them again has to name
    them, since nobody said so."""

    runs: tuple[str, ...]
    carried: tuple[str, ...]
    done: tuple[str, ...]
    untold: tuple[str, ...]


def plan(
    definition: FlowDefinition,
    *,
    forward: Iterable[Forward],
    start: Collection[str],
    is_undone: bool = False,
    before: Iterable[Forward] = (),
) -> Rerun:
    """From the tasks `start` on, or from the beginning where none is named: they and all that depends on them.

    `is_undone`: the transaction has been compensated, so nothing of it can be taken over. `before`: the forward runs of
    those that it is run again of itself, which have done what it has carried over.
    """
    forward = list(forward)
    whole = {run.task_id: run for run in forward if run.item == WHOLE}
    has_done = {run.task_id for run in (*forward, *before) if _has_done_something(run, definition)}
    from_the_start = is_undone or not start
    named = set(definition.tasks) if from_the_start else _with_dependents(definition, start=start)
    carried = {task_id for task_id, run in whole.items() if task_id not in named and _is_satisfied(run, definition)}
    untold = {
        task_id
        for task_id, run in whole.items()
        if task_id not in named and task_id not in carried and (run.attempt or task_id in has_done)
    }
    return Rerun(
        runs=_in_order(definition, definition.tasks.keys() - carried - untold),
        carried=_in_order(definition, carried),
        done=_in_order(definition, has_done - carried - untold),
        untold=_in_order(definition, untold),
    )


def next_ids(instance_id: str) -> Iterator[str]:
    """The names after it."""
    while True:
        instance_id = next_id(instance_id)
        yield instance_id


def next_id(instance_id: str) -> str:
    """`order_001` is run again as `order_001:r2`, and that as `order_001:r3`. No task id has a colon, so nothing that a
    transaction starts has such a name."""
    found = _NAMED.fullmatch(instance_id)
    stem, number = (found[1], int(found[2]) + 1) if found else (instance_id, FIRST)
    ending = f":r{number}"
    if len(stem) + len(ending) <= LONGEST_ID:
        return stem + ending
    digest = hashlib.blake2b(stem.encode(), digest_size=8).hexdigest()
    return f"{stem[: LONGEST_ID - len(digest) - len(ending) - 1]}~{digest}{ending}"


def _with_dependents(definition: FlowDefinition, *, start: Collection[str]) -> set[str]:
    found = set(start)
    waiting = list(found)
    for task_id in waiting:  # which grows meanwhile
        below = [each for each in definition.dependents.get(task_id, ()) if each not in found]
        found.update(below)
        waiting += below
    return found


def _has_done_something(run: Forward, definition: FlowDefinition) -> bool:
    """As undoing sees it: a task with items has done what these have."""
    is_of_items = definition.tasks[run.task_id].foreach is not None
    return run.has_done_something and is_of_items == (run.item != WHOLE)


def _is_satisfied(run: Forward, definition: FlowDefinition) -> bool:
    """As planning sees it: an optional task may have failed."""
    if run.status in SATISFIED_RUN:
        return True
    return run.status == RunStatus.FAILED and definition.tasks[run.task_id].optional


def _in_order(definition: FlowDefinition, task_ids: Collection[str]) -> tuple[str, ...]:
    return tuple(task_id for task_id in definition.order if task_id in task_ids)
