"""What a transaction does next. Pure: a definition and the state of its runs give moves; no ORM, no clock.

`Progress` is the same answer kept up to date run by run, so that a chain of thousands is not counted anew at each step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from dist_task.states import ELSEWHERE, SATISFIED_RUN, WHOLE, RunKey, RunStatus, TransactionStatus, WaitsFor
from flows.definition import FlowDefinition, TaskSpec

from .fan import Fan
from .moves import (
    FOREVER,
    Compensate,
    Elapse,
    Finish,
    Move,
    RunState,
    Start,
    Wait,
    next_start,
    wait_over,
)

PENDING, RUNNING, WAITING, FAILED = RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.FAILED


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
    """The state of one transaction's graph, kept up to date by `see`. Tasks that are `passed_over` have no run.

    `runs` are those of whole tasks, `fans` the items of those that have them, `waiting` the tasks that wait.
    """

    graph: Graph
    ends: Ends
    cancelling: bool = False
    paused: bool = False  # nothing begins, no wait is over
    passed_over: frozenset[str] = frozenset()
    runs: dict[str, RunState] = field(default_factory=dict)
    fans: dict[str, Fan] = field(default_factory=dict)
    waiting: dict[str, None] = field(default_factory=dict)
    _open: dict[str, Fan] = field(default_factory=dict)  # those of tasks that wait for their items
    _unmet: dict[str, int] = field(default_factory=dict)
    _ready: dict[str, None] = field(default_factory=dict)
    _pending: dict[str, None] = field(default_factory=dict)
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
        if run.item != WHOLE:
            if task_id in self.fans:
                self.fans[task_id].see(run)
            return
        self._forget(task_id)
        self.runs[task_id] = run
        if run.status == RUNNING:
            self._running.add(task_id)
        elif run.status == WAITING:
            self.waiting[task_id] = None
            self._look_at_fan(task_id)
        elif run.status == PENDING:
            self._pending[task_id] = None
        elif self._satisfies(run) and task_id not in self._satisfied:
            self._satisfy(task_id)

    def _forget(self, task_id: str) -> None:
        """Where it stood until now: each is in one place."""
        before = self.runs.get(task_id)
        if before is None:
            self._ready.pop(task_id, None)
        elif before.status == RUNNING:
            self._running.discard(task_id)
        elif before.status == WAITING:
            del self.waiting[task_id]
            self._open.pop(task_id, None)
        elif before.status == PENDING:
            del self._pending[task_id]

    def fan_out(self, fan: Fan) -> None:
        """The items of a task are known: they begin once the task waits for them."""
        self.fans[fan.task_id] = fan
        self._look_at_fan(fan.task_id)

    def cut_fans(self) -> None:
        """No item begins any more."""
        for fan in self._open.values():
            fan.cut()

    def run_of(self, key: RunKey) -> RunState | None:
        task_id, item = key
        if item == WHOLE:
            return self.runs.get(task_id)
        return self.fans[task_id].runs.get(item) if task_id in self.fans else None

    def moves(self, *, now: float, most: int | None = None) -> list[Move]:
        """What to do now; empty while attempts are in flight and nothing else may start.

        Of first attempts `most` are told at once: who cannot begin thousands need not be told of them each time.
        """
        if self.cancelling:
            return self._moves_to_cancel()
        if self.paused:
            return [] if self._is_running else [Wait(FOREVER)]
        tasks = self.graph.tasks
        ready = islice(self._ready, most)
        starts: list[Move] = [Start(task_id, 1, tasks[task_id].retry.tries) for task_id in ready]
        if self._pending:
            starts += [next_start(run) for run in self._runs(self._free()) if run.due_at <= now]
        if self.waiting:
            starts += [wait_over(run, now=now) for run in self._runs(self.waiting) if run.due_at <= now]
        if self._open:
            starts += self._moves_of_fans(now)
        if starts or self._is_running:
            return starts
        if (next_due_at := self.next_due_at) is not None:
            return [Wait(next_due_at)]
        return [self.ends.complete if len(self._satisfied) == len(self.graph.tasks) else self.ends.incomplete]

    @property
    def is_only_running(self) -> bool:
        """Attempts are in flight, and there is nothing to do before one of them ends."""
        return bool(self._running) and not (self._ready or self._pending or self.waiting)

    def postpone(self, task_id: str) -> None:
        """It cannot begin now, and is not to keep others from being told."""
        if task_id in self._ready:
            del self._ready[task_id]
            self._ready[task_id] = None

    @property
    def next_due_at(self) -> float | None:
        """When the earliest pending run may start or wait is over, also while others are in flight. FOREVER where that
        is up to somebody outside."""
        if not self._pending and not self.waiting:
            return None
        due = [run.due_at for run in self._runs((*self._free(), *self.waiting))]
        due += [fan.next_due_at for fan in self._open.values()]
        return min(due, default=FOREVER)

    @property
    def _is_running(self) -> bool:
        return bool(self._running) or any(fan.is_running for fan in self._open.values())

    def _runs(self, task_ids: Iterable[str]) -> list[RunState]:
        return [self.runs[task_id] for task_id in task_ids]

    def _look_at_fan(self, task_id: str) -> None:
        run = self.runs.get(task_id)
        if task_id in self.fans and run is not None and run.status == WAITING and run.waits_for == WaitsFor.ITEMS:
            self._open[task_id] = self.fans[task_id]

    def _moves_of_fans(self, now: float) -> list[Move]:
        moves: list[Move] = []
        for fan in self._open.values():
            moves += [Elapse(fan.task_id)] if fan.is_over else fan.moves(now=now)
        return moves

    def _free(self) -> list[str]:
        """Pending, while nothing that they depend on is tried again itself: an optional task may be."""
        return [task_id for task_id in self._pending if not self._unmet.get(task_id)]

    def _moves_to_cancel(self) -> list[Move]:
        """Work that goes on elsewhere cannot be called back: that wait is over, without an answer. Transactions of our
        own are cancelled as well, and say so."""
        waiting = self._runs(self.waiting)
        for fan in self._open.values():
            waiting += fan.waiting
        if over := [Elapse(run.task_id, run.item) for run in waiting if run.waits_for in ELSEWHERE]:
            return list(over)
        if self._is_running or any(run.waits_for == WaitsFor.CHILD for run in waiting):
            return []
        return [Finish(TransactionStatus.CANCELLED)]

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


def plan(
    definition: FlowDefinition, *, runs: Iterable[RunState], now: float = 0.0, cancelling: bool = False
) -> list[Move]:
    """The moves of a transaction whose runs stand so."""
    return Progress.of(definition, runs=runs, cancelling=cancelling).moves(now=now)
