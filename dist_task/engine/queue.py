"""django-q2 as we use it: a cluster whose workers run drains, and the messages that start them.

A cluster reads a queue of its own: a full cluster prefetches messages that it cannot run, and must not take those of
another. Messages are hints: the cluster counts its living drains and sends another message for each that is missing.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from django.db import Error as DatabaseError
from django.db import connections
from django.utils import timezone
from django_q.cluster import Cluster
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.tasks import async_task

from dist_task.conf import conf
from dist_task.errors import DatabaseUnavailable

from . import board as boards
from .board import Entry
from .drain import host_name
from .rescue import report_deaths
from .store import leases

logger = logging.getLogger(__name__)

DRAIN = "dist_task.engine.jobs.drain"
LOOK_SECONDS = 0.2
HUNG_SECONDS = 8.0
"""So long a wanted drain may be missing, with a message for it sent, before the cluster counts as hung."""
PR_SET_PDEATHSIG = 1
HUNG_EXIT_CODE = 70


class DrainCluster:
    """Runs a django-q2 cluster in this process's children and judges it by progress, not by looks.

    A killed idle worker, pusher or monitor leaves a cluster that looks alive and runs nothing. So what counts is how
    many drains tick; when one stays missing, `run` ends with an exit code for whoever supervises to start anew.
    """

    def __init__(self) -> None:
        self.name = f"dist_task:{uuid.uuid4().hex[:12]}"
        self._stopping = False
        self._missing_since: float | None = None
        self._asked_at = 0.0

    @property
    def size(self) -> int:
        """How many workers it runs."""
        return int(Conf.WORKERS)

    def run(self) -> int:
        """Returns the exit code."""
        Conf.CLUSTER_NAME = self.name
        boards.board = self._board = boards.Board()
        os.register_at_fork(after_in_child=_die_with_parent)
        self._forget_the_dead()
        self._cluster = Cluster()
        self._listen_to_signals()
        self._cluster.start()
        try:
            return self._watch()
        finally:
            self._end()

    def _listen_to_signals(self) -> None:
        """Instead of django-q2's handlers, which wait for the workers without a limit."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._board.ask_to_stop()

    def _watch(self) -> int:
        while not self._stopping:
            if not self._cluster.sentinel.is_alive():
                logger.critical("The cluster's sentinel died.")
                return HUNG_EXIT_CODE
            try:
                self._report_dead_drains()
                if self._is_hung():
                    return HUNG_EXIT_CODE
            except (DatabaseError, DatabaseUnavailable) as error:
                logger.warning("The cluster cannot reach the database: %s", error)
                connections.close_all()
                self._missing_since = None
            time.sleep(LOOK_SECONDS)
        return 0

    def _report_dead_drains(self) -> None:
        """What a dead drain held is given back at once; one that has stood still for two leases is killed."""
        dead = [entry for entry in self._board.entries() if not _is_alive(entry.pid)]
        if dead:
            logger.warning("Drains died: %s", ", ".join(str(entry.pid) for entry in dead))
            report_deaths([entry.worker_id for entry in dead])
        for entry in dead:
            self._board.clear(entry.cell)
        for entry in self._board.entries():
            if time.monotonic() - entry.ticked_at > 2 * conf.LEASE_SECONDS:
                logger.critical("The drain %d has stood still: it is killed.", entry.pid)
                os.kill(entry.pid, signal.SIGKILL)

    def _is_hung(self) -> bool:
        """Sends a message for each missing drain; True when that has not helped for a while."""
        missing = Conf.WORKERS - len(self._ticking())
        now = time.monotonic()
        if missing <= 0:
            self._missing_since = None
            return False
        self._missing_since = self._missing_since or now
        if now - self._asked_at > 1.0:
            self._asked_at = now
            waiting = OrmQ.objects.filter(key=self.name, lock__lte=timezone.now()).count()  # others run, or ran
            for _ in range(missing - waiting):
                async_task(DRAIN, self.name)
        if now - self._missing_since > HUNG_SECONDS:
            logger.critical("%d of %d drains do not start: the cluster hangs.", missing, Conf.WORKERS)
            return True
        return False

    def _ticking(self) -> list[Entry]:
        oldest = time.monotonic() - 2 * conf.LEASE_SECONDS
        return [entry for entry in self._board.entries() if entry.ticked_at > oldest]

    def _forget_the_dead(self) -> None:
        """Gives back what workers of this host held whose process is gone; removes messages to dead clusters."""
        with connections["default"].cursor() as cursor:
            living = leases.living_on(cursor, host=host_name())
        dead = [worker_id for worker_id, pid in living if not _is_alive(pid)]
        if dead:
            report_deaths(dead)
        OrmQ.objects.filter(key__startswith="dist_task:").exclude(key__in=_living_queues(living, dead=dead)).delete()
        connections.close_all()

    def _end(self) -> None:
        """The drains have the grace to finish; then whatever is left of the cluster is killed."""
        self._board.ask_to_stop()
        ends_at = time.monotonic() + conf.STOP_GRACE_SECONDS + 0.5
        while self._board.entries() and time.monotonic() < ends_at and self._cluster.sentinel.is_alive():
            time.sleep(0.05)
        # Nothing is left to lose. django-q2's own stop waits on locks that a killed process may hold for ever.
        self._cluster.sentinel.kill()
        self._cluster.sentinel.join()


def _living_queues(living: list[tuple[int, int]], *, dead: Iterable[int]) -> list[str]:
    from dist_task.models import Worker

    gone = set(dead)
    here = [worker_id for worker_id, _pid in living if worker_id not in gone]
    elsewhere = Worker.objects.exclude(host=host_name()).values_list("cluster", flat=True)
    return [*Worker.objects.filter(pk__in=here).values_list("cluster", flat=True), *elsewhere]


def _is_alive(pid: int) -> bool:
    """A zombie is dead: nobody works in it any more."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OSError:
        return not Path("/proc/self").exists()


def _die_with_parent() -> None:
    """In every forked child of the cluster: when the parent is killed, so is the child (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
