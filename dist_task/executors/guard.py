"""Ends the processes of a worker that cannot do it any more: it was killed, or stopped for longer than its lease.

What a worker had in hand is taken over when its lease has run out, and tried again. Its processes must not be at it
still by then, also where it hangs and where their own code holds the interpreter. So a small process (`guard_process`)
is told of each process group, hears from the worker's loop all the time, and kills them all when it does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
from pathlib import Path

from dist_task.conf import conf

PROGRAM = Path(__file__).with_name("guard_process.py")
SILENCE = 0.7
"""Of a lease. It is renewed five times within its length, so at least four fifths of it are left when a loop stops."""
BEATS = 8
"""So often within that time the worker is heard."""
END_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Guard:
    """Belongs to one event loop; the process is started with the first group that is to be watched."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """0 while there is nothing to watch."""
        return self._process.pid if self._process is not None else 0

    def watch(self, group: int) -> None:
        self._groups.add(group)
        if self._process is None:
            self._start()
            self._beat()
        else:
            self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Before its id can be somebody else's."""
        if group in self._groups:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    def close(self) -> None:
        """Whatever it still watches is killed."""
        if self._timer is not None:
            self._timer.cancel()
        self._end()

    def _start(self) -> None:
        """Isolated and without `site`: it starts in a few milliseconds and needs nothing."""
        command = [sys.executable, "-I", "-S", str(PROGRAM), str(conf.LEASE_SECONDS * SILENCE)]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            logger.warning("The processes of this worker are not guarded: %s", error)
            return
        assert self._process.stdin is not None  # noqa: S101  # a pipe
        os.set_blocking(self._process.stdin.fileno(), False)
        self._tell("".join(f"+{group}\n" for group in self._groups))

    def _beat(self) -> None:
        pause = conf.LEASE_SECONDS * SILENCE / BEATS
        self._timer = asyncio.get_running_loop().call_later(pause, self._beat)
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._start()
        self._tell("\n")

    def _tell(self, text: str) -> None:
        """One that is dead is replaced at the next beat; one that does not read has enough to read."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), text.encode())

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
