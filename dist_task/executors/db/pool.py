"""Sessions that are kept for the next task: a few for each connection, for a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dist_task.errors import ExecutionError

from .access import Access
from .mysql import MysqlSession
from .postgres import PostgresSession
from .session import Session

CONNECT: Mapping[str, Callable[..., Session]] = {
    "postgresql": PostgresSession.connect,
    "mysql": MysqlSession.connect,
}
MOST_KEPT = 8
KEPT_SECONDS = 60.0
PATIENCE = 1 / 3
"""The share of the time left in which a kept session has to show that it still lives."""


@dataclass(slots=True)
class _Shelf:
    """Those of one connection as it was configured, with the time at which each was put back, the newest last."""

    access: Access
    sessions: list[tuple[float, Session]] = field(default_factory=list)


class Pool:
    """For any thread. Nothing is shared: a session belongs to who took it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shelves: dict[str, _Shelf] = {}

    @contextmanager
    def transaction(self, access: Access, *, ends_at: float) -> Iterator[Session]:
        """A session in a transaction, for the body to commit; whatever leaves the body uncommitted is rolled back."""
        session = self._begun(access, ends_at=ends_at)
        try:
            yield session
        except BaseException:
            _roll_back(session)
            raise
        finally:
            self._put(access, session)

    def close(self) -> None:
        with self._lock:
            shelves, self._shelves = self._shelves, {}
        _close(session for shelf in shelves.values() for _put_at, session in shelf.sessions)

    def _begun(self, access: Access, *, ends_at: float) -> Session:
        """Of those that were kept some may be dead: nothing was done on them, so the next is taken."""
        while (session := self._take(access)) is not None:
            try:
                session.begin(ends_at=ends_at, patience_seconds=(ends_at - time.monotonic()) * PATIENCE)
            except ExecutionError:
                session.close()
            else:
                return session
        session = CONNECT[access.dialect](access, ends_at=ends_at)
        try:
            session.begin(ends_at=ends_at, patience_seconds=ends_at - time.monotonic())
        except BaseException:
            session.close()
            raise
        return session

    def _take(self, access: Access) -> Session | None:
        """The newest, since the others may then grow old; a connection that was configured anew begins anew."""
        now = time.monotonic()
        with self._lock:
            shelf = self._shelves.get(access.name)
            if shelf is None or shelf.access != access:
                self._shelves[access.name] = _Shelf(access)
                old = shelf.sessions if shelf else []
            else:
                old = [each for each in shelf.sessions if each[0] < now - KEPT_SECONDS]
                del shelf.sessions[: len(old)]
            sessions = self._shelves[access.name].sessions
            found = sessions.pop()[1] if sessions else None
        _close(session for _put_at, session in old)
        return found

    def _put(self, access: Access, session: Session) -> None:
        with self._lock:
            shelf = self._shelves.get(access.name)
            fits = shelf is not None and shelf.access == access and len(shelf.sessions) < MOST_KEPT
            if shelf is not None and fits and session.is_usable:
                shelf.sessions.append((time.monotonic(), session))
                return
        session.close()


def _roll_back(session: Session) -> None:
    if session.is_usable:
        try:
            session.rollback()
        except ExecutionError:
            session.close()


def _close(sessions: Iterator[Session]) -> None:
    for session in sessions:
        session.close()
