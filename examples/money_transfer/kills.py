"""kill -9 of a worker of the cluster, and of PostgreSQL, which holds the banks and the service's own tables."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

import psycopg2

from dist_task.embedded.layout import DATABASE

from .banks import Banks

WORKERS = "SELECT pid FROM dist_task_worker WHERE lease_until > clock_timestamp() ORDER BY pid"
POSTGRES = "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int"
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.05


class Kills:
    """A worker first, then PostgreSQL, then at random."""

    def __init__(self, banks: Banks, *, dice: random.Random) -> None:
        self.done: Counter[str] = Counter()
        self._banks, self._dice = banks, dice

    def strike(self) -> str:
        """Whom."""
        first = ["worker", "PostgreSQL"][self.done.total() :]
        name = first[0] if first else self._dice.choice(["worker", "PostgreSQL"])
        time.sleep(self._dice.uniform(0.0, 0.1))  # somewhere in the work
        os.kill(self._dice.choice(self._living(WORKERS if name == "worker" else POSTGRES)), signal.SIGKILL)
        self.done[name] += 1
        return name

    def _living(self, sql: str) -> list[int]:
        """The process ids, as soon as there is one: the last victim may not be up again."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if found := [int(pid) for (pid,) in self._banks.run(DATABASE, sql)]:
                    return found
            except psycopg2.Error:
                if time.monotonic() > ends_at:
                    raise
            time.sleep(PAUSE_SECONDS)
