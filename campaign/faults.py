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

from .clusters import RunningCluster, children, one_of, strike, wake_later

UNREACHABLE = (psycopg2.Error, DatabaseUnavailable)
WEIGHTS = {
    "kill_drain": 6,
    "stop_drain": 6,
    "kill_pusher_or_monitor": 2,
    "kill_sentinel": 2,
    "kill_main": 2,
    "term_main": 2,
    "roll": 1,
    "cut_connections": 4,
    "restart_database": 2,
    "crash_database": 2,
    "freeze_database": 2,
    "lock_tables": 2,
    "expire_lease": 8,
}

TABLES = ["transactions_transaction", "dist_task_taskrun", "dist_task_worker", "dist_task_executionlog"]
ROLL_SECONDS = 20.0


class Faults:
    def __init__(self, *, dice: random.Random, clusters: list[RunningCluster], folder: Path) -> None:
        self.done: Counter[str] = Counter()
        self.complaints: list[str] = []
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

    def _kill_pusher_or_monitor(self) -> bool:
        drains = self._drains()
        forked = children(self._dice.choice(self._clusters).sentinel())
        pid = one_of([pid for pid in forked if pid not in drains], dice=self._dice)
        return pid is not None and strike(pid, signal.SIGKILL)

    def _kill_sentinel(self) -> bool:
        pid = self._dice.choice(self._clusters).sentinel()
        return bool(pid) and strike(pid, signal.SIGKILL)

    def _kill_main(self) -> bool:
        members = self._dice.choice(self._clusters).members()
        return bool(members) and strike(members[0], signal.SIGKILL)

    def _term_main(self) -> bool:
        return self._stop(self._dice.choice(self._clusters))

    def _roll(self) -> bool:
        """One cluster is restarted, then the other, as for a new release."""
        for cluster in self._clusters:
            if not self._stop(cluster):
                return False
            cluster.ensure()
            ends_at = time.monotonic() + ROLL_SECONDS
            while not children(cluster.sentinel()) and time.monotonic() < ends_at:
                time.sleep(0.1)
        return True

    def _stop(self, cluster: RunningCluster) -> bool:
        """False when there was nothing to stop."""
        if cluster.process is None or cluster.process.poll() is not None:
            return False
        if not cluster.stop():
            self.complaints.append("a cluster did not end after SIGTERM")
        return True

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

    def _crash_database(self) -> bool:
        """One of its processes is killed: the server ends all others and recovers."""
        pid = one_of(children(postmaster(self._layout)), dice=self._dice)
        return pid is not None and strike(pid, signal.SIGKILL)

    def _freeze_database(self) -> bool:
        """All of it stands still for longer than a lease; nobody is told."""
        main = postmaster(self._layout)
        family = [main, *children(main)] if main else []
        for pid in family:
            strike(pid, signal.SIGSTOP)
        time.sleep(self._dice.uniform(1.0, 3.0))
        for pid in family:
            strike(pid, signal.SIGCONT)
        return bool(family)

    def _lock_tables(self) -> bool:
        with closing(connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
            tables = self._dice.sample(TABLES, k=self._dice.randint(1, len(TABLES)))
            cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
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
