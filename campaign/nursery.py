"""Forks drains from one process that has everything loaded, and forks a new one for each that dies.

It does what a cluster's main process does: a death is reported at once, a stopped drain goes on after its lease has
run out. Lines of JSON on stdin say what to do; each is answered by one line. It ends with its stdin.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from typing import Any

import django

LOOK_SECONDS = 0.02


class Nursery:
    def __init__(self) -> None:
        self.wanted = 0
        self.drains: set[int] = set()
        self.starter = 0
        self.items: list[list[str]] = []
        self.stopped: dict[int, float] = {}
        self.deaths = 0
        self.wake_after = 0.0

    def run(self) -> None:
        self._renew_board()
        while True:
            if select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
                line = sys.stdin.readline()
                if not line:
                    break
                sys.stdout.write(json.dumps(self._obey(json.loads(line))) + "\n")
                sys.stdout.flush()
            self._reap()
            self._fill()
        self._end(seconds=1.0)

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "start":
            self._arm(order["points"], path=order["file"])
            self._renew_board()
            self.wanted, self.items, self.deaths = order["drains"], order["items"], 0
            self.wake_after = order["wake_after"]
        elif order["do"] == "wake":
            self.wake_after = 0.0
        elif order["do"] == "stop":
            self._end(seconds=10.0)
        return {"deaths": self.deaths, "starting": bool(self.items), "stopped": sorted(self.stopped)}

    def _arm(self, text: str, *, path: str) -> None:
        from dist_task import failpoints

        os.environ[failpoints.FILE_VARIABLE] = path
        os.environ[failpoints.VARIABLE] = text  # for the processes that workers start
        failpoints.points = [failpoints.Failpoint.parse(each) for each in text.split(";") if each]

    def _renew_board(self) -> None:
        from dist_task.engine import board as boards

        boards.board = self.board = boards.Board()

    def _fill(self) -> None:
        if self.items and not self.starter:
            self.starter = self._fork(self._start_items)
        while len(self.drains) < self.wanted:
            self.drains.add(self._fork(self._drain))

    def _fork(self, work: Any) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # libuv wants the standard three open
            work()
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{os.getpid()} ends: {type(error).__name__}: {error}\n")
            os._exit(1)

    def _drain(self) -> None:
        from dist_task.engine import drain, jobs

        drain.TIDY_SECONDS = 0.3
        jobs.drain("campaign")

    def _start_items(self) -> None:
        """Like clients that ask again until they are answered."""
        from dist_task.engine.start import StartRequest, start, start_many

        first, rest = self.items[:2], self.items[2:]
        start_many([StartRequest(instance_id, flow_id, {}) for instance_id, flow_id in first])
        for instance_id, flow_id in rest:
            start(StartRequest(instance_id, flow_id, {}))

    def _reap(self) -> None:
        for pid in [*self.drains, *([self.starter] if self.starter else [])]:
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if not found:
                self._wake(pid)
            elif os.WIFSTOPPED(status):
                self.stopped[pid] = time.monotonic()
            else:
                self._bury(pid, status=status)

    def _wake(self, pid: int) -> None:
        if pid in self.stopped and time.monotonic() - self.stopped[pid] > self.wake_after:
            del self.stopped[pid]
            os.kill(pid, signal.SIGCONT)

    def _bury(self, pid: int, *, status: int) -> None:
        from django.db import connections

        from dist_task.engine.rescue import report_deaths

        self.stopped.pop(pid, None)
        self.deaths += status != 0
        if pid == self.starter:
            self.starter = 0
            self.items = [] if status == 0 else self.items
            return
        self.drains.discard(pid)
        for entry in self.board.entries():
            if entry.pid == pid:
                report_deaths([entry.worker_id])
                self.board.clear(entry.cell)
        connections.close_all()

    def _end(self, *, seconds: float) -> None:
        self.wanted = 0
        self.board.ask_to_stop()
        ends_at = time.monotonic() + seconds
        while self.drains and time.monotonic() < ends_at:
            self._reap()
            time.sleep(LOOK_SECONDS)
        for pid in self.drains:
            os.kill(pid, signal.SIGKILL)
        while self.drains:
            self._reap()


if __name__ == "__main__":
    django.setup()
    Nursery().run()
