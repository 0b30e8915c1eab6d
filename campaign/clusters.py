"""Clusters as an operator would run them, and their processes as a fault sees them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# In each process: connections cut before and after a commit is durable, and a renewal of the lease that hangs.
CUTS = "commit.before:40:cut;commit.after:80:cut;commit.after:300:cut;renew.before:40:hang=4"


class RunningCluster:
    """`manage.py cluster`, started anew whenever it ended, with its whole process group ended first."""

    def __init__(self, *, log: Path, points: str, environment: Mapping[str, str] = os.environ) -> None:
        self._log = log
        self._environment = {**environment, "PYTHONPATH": str(ROOT), "DIST_TASK_FAILPOINTS": points}
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

    def sentinel(self) -> int:
        """0 while there is none."""
        mains = children(self.process.pid) if self.process is not None else []
        return next((pid for pid in mains if children(pid)), 0)

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


def children(pid: int) -> list[int]:
    """The living ones."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return [child for child in found if is_alive(child)]


def is_alive(pid: int) -> bool:
    """A zombie is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0
