"""What a transaction does next. Pure: a definition and the state of its runs give moves; no ORM, no clock.

Times are numbers of the caller's own clock (a worker passes its monotonic one), compared with each other only.
`Progress` is the same answer kept up to date run by run, so that a chain of thousands is not counted anew at each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dist_task.states import SATISFIED_RUN, RunStatus, TransactionStatus, WaitsFor
from flows.definition import FlowDefinition, TaskSpec

PENDING, RUNNING, WAITING, FAILED = RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.FAILED
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


class Start(NamedTuple):
    """Begin attempt number `attempt` of a task."""

    task_id: str
    attempt: int
    budget: int


class Wait(NamedTuple):
    """Nothing can be done before `until` on the caller's clock."""

    until: float


class Elapse(NamedTuple):
    """A wait is over: the time has come, an answer came, or none came in time."""

    task_id: str


class Finish(NamedTuple):
    status: str


class Compensate(NamedTuple):
    """Nothing of the forward work can go on: what was done is to be undone."""


class Compensated(NamedTuple):
    """Undoing has come to an end: `outcome` is a CompensationStatus, done or failed."""

    outcome: str


Move = Start | Elapse | Wait | Finish | Compensate | Compensated


class Graph(Protocol):
    """Tasks in an order: a flow's definition, or what undoes it (see compensate.py)."""

    @property
    def tasks(self) -> Mapping[str, TaskSpec]: ...
    @property
    def dependents(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def fan_in(self) -> Mapping[str, int]: ...
    @property
    def roots(self) -> tuple[str, ...]: ...


class Ends(NamedTuple):
    """The moves with which a graph ends."""

    complete: Move
    incomplete: Move


FORWARD = Ends(Finish(TransactionStatus.SUCCESS), Finish(TransactionStatus.FAILED))
FORWARD_OR_BACK = Ends(Finish(TransactionStatus.SUCCESS), Compensate())


@dataclass(slots=True)
class Progress:
    """The state of one transaction's graph, kept up to date by `see`. Tasks that are `passed_over` have no run."""

    graph: Graph
    ends: Ends
    cancelling: bool = False
    passed_over: frozenset[str] = frozenset()
    runs: dict[str, RunState] = field(default_factory=dict)
    _unmet: dict[str, int] = field(default_factory=dict)
    _ready: dict[str, None] = field(default_factory=dict)
    _pending: dict[str, None] = field(default_factory=dict)
    _waiting: dict[str, None] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)
    _satisfied: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, definition: FlowDefinition, *, runs: Iterable[RunState], cancelling: bool = False) -> Progress:
        """Of the forward work."""
        ends = FORWARD if definition.on_failure == "wait" else FORWARD_OR_BACK
        return cls.over(definition, ends=ends, runs=runs, cancelling=cancelling)

    @classmethod
    def over(
        cls,
        graph: Graph,
        *,
        ends: Ends,
        runs: Iterable[RunState],
        cancelling: bool = False,
        passed_over: frozenset[str] = frozenset(),
    ) -> Progress:
        progress = cls(graph=graph, ends=ends, cancelling=cancelling, passed_over=passed_over)
        progress._unmet = dict(graph.fan_in)
        progress._be_ready(graph.roots)
        for run in runs:
            progress.see(run)
        return progress

    def see(self, run: RunState) -> None:
        """Takes in the new state of one run."""
        task_id = run.task_id
        self.runs[task_id] = run
        self._ready.pop(task_id, None)
        self._pending.pop(task_id, None)
        self._waiting.pop(task_id, None)
        self._running.discard(task_id)
        if run.status == RUNNING:
            self._running.add(task_id)
        elif run.status == WAITING:
            self._waiting[task_id] = None
        elif run.status == PENDING:
            self._pending[task_id] = None
        elif self._satisfies(run) and task_id not in self._satisfied:
            self._satisfy(task_id)

    def moves(self, *, now: float) -> list[Move]:
        """What to do now; empty while attempts are in flight and nothing else may start."""
        if self.cancelling:
            return [] if self._running else [Finish(TransactionStatus.CANCELLED)]
        starts: list[Move] = [self._first_start(task_id) for task_id in self._ready]
        starts += [self._next_start(task_id) for task_id in self._pending if self.runs[task_id].due_at <= now]
        if self._waiting:
            starts += [self._wait_over(task_id, now) for task_id in self._waiting if self.runs[task_id].due_at <= now]
        if starts or self._running:
            return starts
        if (next_due_at := self.next_due_at) is not None:
            return [Wait(next_due_at)]
        return [self.ends.complete if len(self._satisfied) == len(self.graph.tasks) else self.ends.incomplete]

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def next_due_at(self) -> float | None:
        """When the earliest pending run may start or wait is over, also while others are in flight."""
        if not self._pending and not self._waiting:
            return None
        return min(self.runs[task_id].due_at for task_id in (*self._pending, *self._waiting))

    def _satisfies(self, run: RunState) -> bool:
        failed_optional = run.status == FAILED and self.graph.tasks[run.task_id].optional
        return run.status in SATISFIED_RUN or failed_optional

    def _satisfy(self, task_id: str) -> None:
        self._satisfied.add(task_id)
        if released := self._released_by(task_id):
            self._be_ready(released)

    def _be_ready(self, task_ids: Iterable[str]) -> None:
        """What waits for nothing more may start; what is passed over is satisfied by that, and so on."""
        waiting = list(task_ids)
        for task_id in waiting:  # which grows meanwhile
            if task_id in self.passed_over:
                self._satisfied.add(task_id)
                waiting += self._released_by(task_id)
            elif task_id not in self.runs:
                self._ready[task_id] = None

    def _released_by(self, task_id: str) -> list[str]:
        released = []
        for dependent in self.graph.dependents.get(task_id, ()):
            self._unmet[dependent] -= 1
            if self._unmet[dependent] == 0:
                released.append(dependent)
        return released

    def _first_start(self, task_id: str) -> Start:
        return Start(task_id, attempt=1, budget=self.graph.tasks[task_id].retry.tries)

    def _wait_over(self, task_id: str, now: float) -> Move:
        """A service that said that it is at it is asked again, in the same attempt."""
        run = self.runs[task_id]
        if run.waits_for == WaitsFor.SERVICE and now < run.deadline_at:
            return Start(task_id, attempt=run.attempt, budget=run.budget)
        return Elapse(task_id)

    def _next_start(self, task_id: str) -> Start:
        run = self.runs[task_id]
        return Start(task_id, attempt=run.attempt + 1, budget=max(run.budget, run.attempt + 1))


def plan(
    definition: FlowDefinition, *, runs: Iterable[RunState], now: float = 0.0, cancelling: bool = False
) -> list[Move]:
    """The moves of a transaction whose runs stand so."""
    return Progress.of(definition, runs=runs, cancelling=cancelling).moves(now=now)
