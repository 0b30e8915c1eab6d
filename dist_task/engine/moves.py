"""The words of planning: how a task run stands, and what may be done next. Pure.

Times are numbers of the caller's own clock (a worker passes its monotonic one), compared with each other only.
"""

from __future__ import annotations

from typing import NamedTuple

from dist_task.states import WHOLE, RunKey, WaitsFor

FOREVER = float("inf")


class RunState(NamedTuple):
    """One task run as planning sees it. `due_at` is on the caller's clock and means something while it is pending or
    waiting; FOREVER where only somebody outside ends the wait. After `deadline_at` it is not tried or asked again."""

    task_id: str
    status: str
    attempt: int = 0
    budget: int = 1
    due_at: float = 0.0
    waits_for: str = ""
    deadline_at: float = FOREVER
    item: int = WHOLE

    @property
    def key(self) -> RunKey:
        return self.task_id, self.item


class Start(NamedTuple):
    """Begin attempt number `attempt` of a task, or of one of its items."""

    task_id: str
    attempt: int
    budget: int
    item: int = WHOLE

    @property
    def key(self) -> RunKey:
        return self.task_id, self.item


class Wait(NamedTuple):
    """Nothing can be done before `until` on the caller's clock."""

    until: float


class Elapse(NamedTuple):
    """A wait is over: the time has come, an answer came, or none came in time, or all items have ended."""

    task_id: str
    item: int = WHOLE


class Finish(NamedTuple):
    status: str


class Compensate(NamedTuple):
    """Nothing of the forward work can go on: what was done is to be undone."""


class Compensated(NamedTuple):
    """Undoing has come to an end: `outcome` is a CompensationStatus, done or failed."""

    outcome: str


Move = Start | Elapse | Wait | Finish | Compensate | Compensated


def first_start(task_id: str, *, tries: int, item: int = WHOLE) -> Start:
    return Start(task_id, attempt=1, budget=tries, item=item)


def next_start(run: RunState) -> Start:
    return Start(run.task_id, attempt=run.attempt + 1, budget=max(run.budget, run.attempt + 1), item=run.item)


def wait_over(run: RunState, *, now: float) -> Start | Elapse:
    """A service that said that it is at it is asked again, in the same attempt."""
    if run.waits_for == WaitsFor.SERVICE and now < run.deadline_at:
        return Start(run.task_id, attempt=run.attempt, budget=run.budget, item=run.item)
    return Elapse(run.task_id, run.item)
