"""What is done to the clusters and to the database, at random but from a seed."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psycopg2

from dist_task.database import connect
from dist_task.embedded.layout import Layout
from dist_task.engine.store import leases
from dist_task.errors import DatabaseUnavailable

from .clusters import RunningCluster, one_of, strike, wake_later

UNREACHABLE = (psycopg2.Error, DatabaseUnavailable)
WEIGHTS = {
    "kill_drain": 6,
    "stop_drain": 6,
    "kill_any": 3,
    "kill_main": 2,
    "term_main": 2,
    "cut_connections": 4,
    "restart_database": 2,
    "lock_table": 2,
    "expire_lease": 8,
}


class Faults:
    def __init__(self, *, dice: random.Random, clusters: list[RunningCluster], folder: Path) -> None:
        self.done: Counter[str] = Counter()
        self._dice, self._clusters, self._layout = dice, clusters, Layout(folder=folder)
        self._threads: list[threading.Thread] = []

    def strike(self) -> str:
        name = self._dice.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
        with suppress(*UNREACHABLE):
            if getattr(self, f"_{name}")():
                self.done[name] += 1
        return name

    def heal(self) -> None:
        for thread in self._threads:
            thread.join()

    def _drains(self) -> list[int]:
        """Processes under a living lease."""
        with closing(connect(autocommit=True)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM dist_task_worker WHERE lease_until > clock_timestamp()")
            mine = {pid for cluster in self._clusters for pid in cluster.members()}
            return sorted({row[0] for row in cursor.fetchall()} & mine)

    def _kill_drain(self) -> bool:
        pid = one_of(self._drains(), dice=self._dice)
        return pid is not None and strike(pid, signal.SIGKILL)

    def _stop_drain(self) -> bool:
        """Past its lease; now and then all drains but one."""
        drains = self._drains()
        chosen = drains[1:] if self._dice.random() < 0.3 else self._dice.sample(drains, k=min(1, len(drains)))
        for pid in chosen:
            strike(pid, signal.SIGSTOP)
            seconds = self._dice.uniform(1.0, 4.5)
            self._later(lambda pid=pid, seconds=seconds: wake_later(pid, seconds=seconds))  # type: ignore[misc]
        return bool(chosen)

    def _kill_any(self) -> bool:
        """The sentinel, the monitor, the pusher, a worker: whoever it is."""
        pid = one_of([pid for cluster in self._clusters for pid in cluster.members()[1:]], dice=self._dice)
        return pid is not None and strike(pid, signal.SIGKILL)

    def _kill_main(self) -> bool:
        members = self._dice.choice(self._clusters).members()
        return bool(members) and strike(members[0], signal.SIGKILL)

    def _term_main(self) -> bool:
        cluster = self._dice.choice(self._clusters)
        return cluster.process is not None and cluster.process.poll() is None and cluster.stop()

    def _cut_connections(self) -> bool:
        with closing(connect(autocommit=True)) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return bool(cursor.fetchone()[0])

    def _restart_database(self) -> bool:
        """Fast shutdown, immediate shutdown, or kill -9: its keeper starts it again."""
        pid = postmaster(self._layout)
        number = self._dice.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
        return bool(pid) and strike(pid, number)

    def _lock_table(self) -> bool:
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
            cursor.execute("LOCK TABLE transactions_transaction IN ACCESS EXCLUSIVE MODE")
            time.sleep(self._dice.uniform(0.5, 2.5))
            return True

    def _expire_lease(self) -> bool:
        """Living workers are taken for dead, as by a jump of the clock: their results come too late."""
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT DISTINCT owner FROM transactions_transaction WHERE owner IS NOT NULL ORDER BY owner")
            taken = [leases.retire(cursor, worker_id=row[0]) for row in cursor.fetchall()]
            connection.commit()
            return any(taken)

    def _later(self, work: object) -> None:
        thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)


def postmaster(layout: Layout) -> int:
    """The process id of the embedded server; 0 while there is none."""
    place = layout.elsewhere_file
    try:
        home = Path(place.read_text().strip()) if place.exists() else layout.cluster
        return int((home / "data" / "postmaster.pid").read_text().split("\n")[0])
    except (OSError, ValueError):
        return 0
