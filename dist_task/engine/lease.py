"""A worker's lease, renewed on a connection of its own, which also hears the notifications."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg2

from dist_task import failpoints
from dist_task.conf import conf
from dist_task.database import connect
from dist_task.errors import DatabaseUnavailable

from .store import leases

logger = logging.getLogger(__name__)

RENEWALS = 5
"""So many times within its length a lease is renewed: four may fail before others may take it back."""


class LeaseKeeper(threading.Thread):
    """Registers a worker and keeps its lease while `is_alive` says that the loop still ticks.

    `on_lost` is called once when somebody else took over or the loop stands still.
    Both run in this thread. While the database is away nothing is lost: no work can start, results wait to be written,
    and others give the lease time to be renewed before they take it back.
    """

    def __init__(self, *, cluster: str, host: str, pid: int) -> None:
        super().__init__(name="lease", daemon=True)
        self._register = partial(leases.register, cluster=cluster, host=host, pid=pid)
        self._stopping = threading.Event()
        self._connection: Any = None
        self._on_lost: Callable[[], object] = lambda: None
        self._ticked_at: Callable[[], float] = time.monotonic
        self.worker_id = 0
        self.contact_since = 0.0
        self._renewed_at = 0.0

    def register(self) -> int:
        """Takes a new id; raises what psycopg2 raises when the database cannot be reached."""
        asked_at = time.monotonic()
        with self._opened().cursor() as cursor:
            self.worker_id = self._register(cursor, lease_seconds=conf.LEASE_SECONDS)
        self._renewed_at = self.contact_since = asked_at
        return self.worker_id

    def watch(self, *, on_lost: Callable[[], object], ticked_at: Callable[[], float]) -> None:
        self._on_lost, self._ticked_at = on_lost, ticked_at
        self.start()

    def stop(self) -> None:
        """Ends the thread at once; join it afterwards."""
        self._stopping.set()

    def run(self) -> None:
        try:
            self._keep()
        finally:  # also after a bug: a worker whose lease nobody renews has to know
            if not self._stopping.is_set():
                self._on_lost()
            self._close()

    def _keep(self) -> None:
        """Until told to stop, or until the lease is lost."""
        while not self._stopping.is_set():
            try:
                self._stopping.wait(max(self._renewed_at + conf.LEASE_SECONDS / RENEWALS - time.monotonic(), 0.0))
                if not self._renew():
                    break
            except (psycopg2.Error, DatabaseUnavailable) as error:
                logger.warning("The lease's connection failed: %s", error)
                self._close()
                self.contact_since = time.monotonic()
                self._stopping.wait(0.2)

    def _renew(self) -> bool:
        """False when somebody took over, or because the loop does not tick any more."""
        if self._stopping.is_set():
            return True
        asked_at = time.monotonic()
        if asked_at - self._ticked_at() > conf.LEASE_SECONDS:
            logger.error("The worker's loop stands still: its lease is not renewed.")
            return False
        with self._opened().cursor() as cursor:
            failpoints.hit("renew.before")
            renewed = leases.renew(cursor, worker_id=self.worker_id, lease_seconds=conf.LEASE_SECONDS)
            failpoints.hit("renew.after")
        if renewed:
            self._note_renewal(asked_at)
        return renewed

    def _note_renewal(self, asked_at: float) -> None:
        """One that came late says that the database stood still: it is as if there had been no contact."""
        now = time.monotonic()
        if now - self._renewed_at > 2 * conf.LEASE_SECONDS / RENEWALS:
            self.contact_since = now
        self._renewed_at = asked_at

    def _opened(self) -> Any:
        if self._connection is None or self._connection.closed:
            self._connection = connect(autocommit=True)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
