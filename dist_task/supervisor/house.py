"""The house: which processes there are, in which order they start and end."""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass, field

from dist_task.embedded.alarm import Alarm
from dist_task.supervisor.child import Child
from dist_task.supervisor.preparation import Preparation
from dist_task.supervisor.probe import Answer, Probe

KEEPER_TROUBLE = 3
ASK_SECONDS = 2.0
CLUSTER_PATIENCE_SECONDS = 15.0
WEB_PATIENCE_SECONDS = 40.0
LATE_PREPARE_SECONDS = 10.0
MOST_FALSE_STARTS = 3
"""A child that dies that often, each time at once and before all was ready, has a reason that will not go away."""
# When each must have ended, in seconds after we were told to stop. All are gone within 10.
CLUSTER_END, WEB_END, KEEPER_HURRY, KEEPER_END = 7.0, 8.2, 8.8, 9.4


@dataclass(slots=True)
class House:
    keeper: Child | None
    prepare: Child
    web: Child
    cluster: Child
    demo: Child | None
    probe: Probe
    url: str
    environment: dict[str, str]
    cwd: str
    alarm: Alarm
    preparation: Preparation
    prepared: bool = False
    begun_at: float = field(default_factory=time.monotonic)
    was_ready: bool = False
    next_ask_at: float = 0.0
    silent_since: float | None = None
    blamed_since: float | None = None
    failure: str = field(default="")

    def run(self) -> int:
        """Until told to stop, or until the start failed; the exit status."""
        self.prepared = self.preparation.is_noted()
        first = (self.keeper, self.web, self.cluster) if self.prepared else (self.keeper, self.prepare, self.web)
        for child in first:
            if child is not None:
                self._start(child)
        while not self.alarm.stops and not self.failure:
            self._mind_preparation()
            self._mind_children()
            self._mind_readiness()
            self.alarm.wait(0.05 if not self.was_ready else 0.2)
        self._stop()
        if self.failure:
            sys.stderr.write(f"error: {self.failure}\n")
        return 1 if self.failure else 0

    def _start(self, child: Child) -> None:
        child.start(environment=self.environment, cwd=self.cwd)

    def _lasting(self) -> list[Child]:
        """The children that have to run now."""
        later = [self.cluster, self.demo] if self.prepared else []
        return [child for child in (self.keeper, self.web, *later) if child is not None]

    def _mind_preparation(self) -> None:
        """Before the cluster starts, or, where it was done before, when the machine has time for it."""
        if self.prepare.process is None:
            waited = time.monotonic() - self.begun_at > LATE_PREPARE_SECONDS
            if not self.prepare.started_at and (self.was_ready or waited):
                self._start(self.prepare)
        elif not self.prepare.runs:
            self._note_preparation(self.prepare.bury())

    def _note_preparation(self, status: int) -> None:
        if status != 0:
            self.failure = "the database could not be prepared (see above)."
            return
        self.preparation.note()
        if not self.prepared:
            self.prepared = True
            self._start(self.cluster)

    def _mind_children(self) -> None:
        for child in self._lasting():
            if child.process is not None and not child.runs:
                self._mourn(child)
            elif child.process is None and time.monotonic() >= child.next_start_at and self._is_due(child):
                self._start(child)

    def _is_due(self, child: Child) -> bool:
        """The demo's first orders need a service that works."""
        return child is not self.demo or self.was_ready

    def _mourn(self, child: Child) -> None:
        status = child.bury()
        if child is self.keeper and status == KEEPER_TROUBLE and not self.was_ready:
            self.failure = "the embedded PostgreSQL could not be started (see above)."
        elif child.quick_deaths >= MOST_FALSE_STARTS and not self.was_ready:
            self.failure = f"{child.name} does not start (see above)."
        else:
            sys.stderr.write(f"{child.name} ended with status {status}, starting it again\n")

    def _mind_readiness(self) -> None:
        if not self.prepared or time.monotonic() < self.next_ask_at:
            return
        answer = self.probe.step()
        if answer is None:
            return
        self.next_ask_at = time.monotonic() + (ASK_SECONDS if self.was_ready else 0.1)
        if answer.status == 200 and not self.was_ready and self.cluster.runs:
            self.was_ready = True
            sys.stdout.write(f"ready {self.url}\n")
            sys.stdout.flush()
        if self.was_ready:
            self._judge(answer)

    def _judge(self, answer: Answer) -> None:
        """Liveness is judged by progress: processes that look alive and do nothing are ended."""
        now = time.monotonic()
        self.blamed_since = (self.blamed_since or now) if answer.blames_cluster else None
        self.silent_since = (self.silent_since or now) if answer.status == 0 else None
        if self._is_over(self.blamed_since, child=self.cluster, seconds=CLUSTER_PATIENCE_SECONDS):
            sys.stderr.write("no worker of the cluster lives, ending it\n")
            self.cluster.kill()
            self.blamed_since = None
        if self._is_over(self.silent_since, child=self.web, seconds=WEB_PATIENCE_SECONDS):
            sys.stderr.write("the web server does not answer, ending it\n")
            self.web.kill()
            self.silent_since = None

    def _is_over(self, since: float | None, *, child: Child, seconds: float) -> bool:
        """Counted from the child's own start at the earliest: a new one needs its time too."""
        return since is not None and child.runs and time.monotonic() - max(since, child.started_at) > seconds

    def _stop(self) -> None:
        """The cluster first (it finishes running attempts), then the web server, then the database."""
        begun, told = time.monotonic(), self.alarm.stops
        self.prepare.kill()
        workers = [child for child in (self.demo, self.cluster) if child is not None]
        self._end(workers, until=begun + CLUSTER_END, told=told)
        self._end([self.web], until=begun + WEB_END, told=told)
        if self.keeper is not None:
            self._end([self.keeper], until=begun + KEEPER_HURRY, told=told)
            self._end([self.keeper], until=max(begun + KEEPER_END, time.monotonic() + 0.6), told=-1)
        for child in (self.prepare, *workers, self.web, self.keeper):
            if child is not None and child.process is not None:
                child.bury()

    def _end(self, children: list[Child], *, until: float, told: int) -> None:
        """SIGTERM, then SIGKILL for the group; told once more, at once. Not so for the keeper."""
        for child in children:
            child.tell(signal.SIGTERM)
        while any(child.runs for child in children) and time.monotonic() < until:
            if 0 <= told < self.alarm.stops:
                break
            self.alarm.wait(0.05)
        for child in children:
            if child is not self.keeper:
                child.kill()
