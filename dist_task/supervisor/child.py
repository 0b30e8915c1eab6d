"""A process that has to run, with all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass

from dist_task.embedded.account import bind_to_parent

SOON_SECONDS = 10.0
"""A child that dies sooner than this after its start is started again after a pause."""
CALM_DEATHS = 3
"""So many early deaths in a row may have come from outside; from then on the pauses grow."""
LONGEST_PAUSE_SECONDS = 15.0


@dataclass(slots=True)
class Child:
    """`death_signal` is what the system sends to it should the supervisor be killed."""

    name: str
    command: list[str]
    death_signal: signal.Signals = signal.SIGKILL
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    next_start_at: float = 0.0
    quick_deaths: int = 0

    def start(self, *, environment: dict[str, str], cwd: str) -> None:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=bind_to_parent(self.death_signal),
        )

    @property
    def runs(self) -> bool:
        return self.process is not None and not is_dead(self.process)

    def bury(self) -> int:
        """After its main process ended: end what it left, and say when to start again. The exit status."""
        assert self.process is not None  # noqa: S101  # callers ask for a dead process
        self.kill()
        status = self.process.wait()
        self.process = None
        now = time.monotonic()
        self.quick_deaths = self.quick_deaths + 1 if now - self.started_at < SOON_SECONDS else 0
        pause = 0.25 * 2 ** max(0, self.quick_deaths - CALM_DEATHS) if self.quick_deaths else 0.0
        self.next_start_at = now + min(LONGEST_PAUSE_SECONDS, pause)
        return status

    def tell(self, number: signal.Signals) -> None:
        """Signal the main process only: how its own children end is its business."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """The whole group. Its id is still taken while its leader has not been waited for."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def is_dead(process: subprocess.Popen[bytes]) -> bool:
    """Look without waiting for it, so that its process group cannot be somebody else's yet."""
    if process.returncode is not None:
        return True
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return process.poll() is not None
