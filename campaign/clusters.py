"""Clusters as an operator would run them, and their processes as a fault sees them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# In each process: connections cut before and after a commit is durable, and a renewal of the lease that hangs.
CUTS = "commit.before:40:cut;commit.after:80:cut;commit.after:300:cut;renew.before:40:hang=4"


class RunningCluster:
    """`manage.py cluster`, started anew whenever it ended, with its whole process group ended first."""

    def __init__(self, *, log: Path, points: str) -> None:
        self._log = log
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIST_TASK_FAILPOINTS": points}
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def ensure(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        self.end()
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "cluster"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    def end(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self, *, seconds: float = 15.0) -> bool:
        """SIGTERM; False when it had to be killed."""
        if self.process is None:
            return True
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.end()
            return False
        self.end()
        return True

    def members(self) -> list[int]:
        """The processes of its group, the main one first."""
        if self.process is None:
            return []
        found = [pid for pid in _pids() if _group(pid) == self.process.pid]
        return sorted(found, key=lambda pid: pid != self.process.pid if self.process else 0)


def wake_later(pid: int, *, seconds: float) -> None:
    time.sleep(seconds)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def strike(pid: int, number: signal.Signals) -> bool:
    """False when it is gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def one_of(pids: list[int], *, dice: random.Random) -> int | None:
    return dice.choice(pids) if pids else None


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
