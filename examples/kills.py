"""kill -9 of a worker of the cluster, and of PostgreSQL, which holds the service's own tables."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import psycopg2

from bench.children import StandFailed
from dist_task.embedded.layout import DATABASE

from .postgres import Postgres

ALIVE = "FROM dist_task_worker WHERE lease_until > clock_timestamp()"
BUSY = "id IN (SELECT owner FROM transactions_transaction WHERE owner IS NOT NULL)"
VICTIMS = {
    "worker": f"SELECT pid {ALIVE} ORDER BY pid",
    "busy worker": f"SELECT pid {ALIVE} AND ({BUSY} OR NOT EXISTS (SELECT {ALIVE} AND {BUSY}))",
    "PostgreSQL": "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int",
}
"""Their process ids, asked for in the service's database. Where no worker is busy, any of them is."""
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.05


class Kills:
    """`victims`: names of VICTIMS, one after the other, then at random."""

    def __init__(self, postgres: Postgres, *, dice: random.Random, victims: Sequence[str]) -> None:
        self.done: Counter[str] = Counter()
        self._postgres, self._dice, self._victims = postgres, dice, victims

    def strike(self) -> str:
        """Whom."""
        first = self._victims[self.done.total() :]
        name = first[0] if first else self._dice.choice(self._victims)
        time.sleep(self._dice.uniform(0.0, 0.1))  # somewhere in the work
        os.kill(self._dice.choice(self._living(VICTIMS[name])), signal.SIGKILL)
        self.done[name] += 1
        return name

    def _living(self, sql: str) -> list[int]:
        """The process ids, as soon as there is one: the last victim may not be up again."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends_at:
            with suppress(psycopg2.Error):
                if found := [int(pid) for (pid,) in self._postgres.run(DATABASE, sql)]:
                    return found
            time.sleep(PAUSE_SECONDS)
        raise StandFailed(f"nobody was there to be killed for {PATIENCE_SECONDS:g} s")
