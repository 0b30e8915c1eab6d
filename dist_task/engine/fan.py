"""The items of a task with `foreach`: each is a run of its own, all are tried. Pure.

The task itself has a run as well, which waits for them. It is what the rest of the flow sees, and what is shown first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dist_task.states import FINAL_RUN, RunStatus

from .moves import FOREVER, Elapse, RunState, Start, first_start, next_start, wait_over

PENDING, RUNNING, WAITING, FAILED = RunStatus.PENDING, RunStatus.RUNNING, RunStatus.WAITING, RunStatus.FAILED
MOST_OFFERED = 100
"""So many starts are offered at once: more than a transaction has slots, and few enough to count anew each time."""


@dataclass(slots=True)
class Fan:
    """How far the items are; kept up to date by `see`, with a cost that does not grow with their number.

    `most` of them are under way at once (None: as many as the worker lets), counted are calls and waits, not pauses.
    """

    task_id: str
    items: Sequence[int]
    tries: int
    most: int | None = None
    runs: dict[int, RunState] = field(default_factory=dict)
    failed: int = 0
    left_out: int = 0  # which were not to begin any more
    _fresh_from: int = 0  # the position of the first item that may not have begun
    _ended: int = 0
    _running: int = 0
    _waiting: int = 0
    _due: list[tuple[float, int]] = field(default_factory=list)  # a heap; what is not so any more is passed over
    _ripe: dict[int, None] = field(default_factory=dict)  # whose next attempt may begin
    _over: dict[int, None] = field(default_factory=dict)  # whose wait is over

    @classmethod
    def of(
        cls, task_id: str, *, items: Sequence[int], tries: int, most: int | None, runs: Iterable[RunState] = ()
    ) -> Fan:
        fan = cls(task_id, items, tries, most)
        for run in runs:
            fan.see(run)
        return fan

    @property
    def is_over(self) -> bool:
        return self._ended == len(self.items)

    @property
    def is_running(self) -> bool:
        return self._running > 0

    def see(self, run: RunState) -> None:
        """Takes in the new state of one item."""
        if (before := self.runs.get(run.item)) is not None:
            self._count(before.status, by=-1)
        self._count(run.status, by=1)
        self.runs[run.item] = run
        self._ripe.pop(run.item, None)
        self._over.pop(run.item, None)
        if run.status in (PENDING, WAITING) and run.due_at < FOREVER:
            heapq.heappush(self._due, (run.due_at, run.item))

    def moves(self, *, now: float) -> list[Start | Elapse]:
        """What of it may begin or go on now; none where all have ended."""
        while self._due and self._due[0][0] <= now:
            due_at, item = heapq.heappop(self._due)
            if self._is_due(item, at=due_at):
                (self._over if self.runs[item].status == WAITING else self._ripe)[item] = None
        room = self._room
        moves = [wait_over(self.runs[item], now=now) for item in self._over]
        starts = [next_start(self.runs[item]) for item in islice(self._ripe, max(room, 0))]
        return [*moves, *starts, *self._fresh(room - len(starts))]

    @property
    def next_due_at(self) -> float:
        """When the earliest pause or wait of an item is over; FOREVER where somebody outside has to end it."""
        while self._due and not self._is_due(self._due[0][1], at=self._due[0][0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else FOREVER

    def cut(self) -> None:
        """What has not begun is not to begin any more."""
        self.left_out += len(self.items) - len(self.runs)
        self.items = tuple(self.runs)

    @property
    def waiting(self) -> list[RunState]:
        return [run for run in self.runs.values() if run.status == WAITING]

    @property
    def _room(self) -> int:
        if self.most is None:
            return MOST_OFFERED
        return min(self.most - self._running - self._waiting, MOST_OFFERED)

    def _fresh(self, room: int) -> list[Start]:
        """The first items that have not begun, as many as there is room for."""
        while self._fresh_from < len(self.items) and self.items[self._fresh_from] in self.runs:
            self._fresh_from += 1
        starts: list[Start] = []
        position = self._fresh_from
        while len(starts) < room and position < len(self.items):
            item = self.items[position]
            if item not in self.runs:
                starts.append(first_start(self.task_id, tries=self.tries, item=item))
            position += 1
        return starts

    def _is_due(self, item: int, *, at: float) -> bool:
        run = self.runs[item]
        return run.status in (PENDING, WAITING) and run.due_at == at

    def _count(self, status: str, *, by: int) -> None:
        self._running += by * (status == RUNNING)
        self._waiting += by * (status == WAITING)
        self._ended += by * (status in FINAL_RUN)
        self.failed += by * (status == FAILED)
