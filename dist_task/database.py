"""The one database: PostgreSQL, named by DATABASE_URL or embedded; and raw connections for the engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import environ
import psycopg2
import psycopg2.errors
import psycopg2.extensions

from dist_task.errors import DatabaseUnavailable

REPOSITORY = Path(__file__).resolve().parent.parent
APPLICATION_NAME = "dist_task"
REMOTE_OPTIONS = {
    "connect_timeout": 5,
    # A host that vanished without a word is noticed well within a lease.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def databases() -> dict[str, Any]:
    """What `settings.DATABASES` is."""
    if os.environ.get("DATABASE_URL"):
        chosen = environ.Env().db_url("DATABASE_URL")
        options = {**REMOTE_OPTIONS, "application_name": APPLICATION_NAME, **chosen.get("OPTIONS", {})}
    else:
        data = Path(os.environ.get("DIST_TASK_DATA") or REPOSITORY / "var").resolve()
        chosen = {"ENGINE": "dist_task.embedded", "NAME": "dist_task", "DATA_DIR": str(data)}
        options = {"application_name": APPLICATION_NAME}
    return {"default": {**chosen, "OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}}


def connect(*, autocommit: bool = False, **parameters: Any) -> psycopg2.extensions.connection:
    """A raw connection to where `connections["default"]` goes at this moment (in tests: the test database).

    It belongs to the caller alone. `parameters` override libpq's; times come back in UTC. Raises
    `psycopg2.OperationalError`, or `DatabaseUnavailable` when the embedded server cannot be had.
    """
    connection = psycopg2.connect(**{**_known_parameters(), **parameters})
    if connection.info.parameter_status("TimeZone") != "UTC":
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
    connection.autocommit = autocommit
    return connection


class Prepared:
    """A statement that each connection parses and plans once. `$1` and so on are its parameters, of these types."""

    def __init__(self, name: str, *, types: Sequence[str], sql: str) -> None:
        self._prepare = f"PREPARE {name} ({', '.join(types)}) AS {sql}"
        self._call = f"EXECUTE {name}({', '.join(f'%s::{each}' for each in types)})"
        self._known: WeakSet[Any] = WeakSet()

    def execute(self, cursor: Any, parameters: Sequence[Any], *, first: str = "") -> None:
        """`first` is sent with it, in the same round trip: it ends with a semicolon, and its effect may be local."""
        if cursor.connection not in self._known:
            cursor.execute(first + self._prepare)
            self._known.add(cursor.connection)
        try:
            cursor.execute(first + self._call, parameters)
        except Exception as error:
            if isinstance(error.__cause__ or error, psycopg2.errors.InvalidSqlStatementName):
                self._known.discard(cursor.connection)  # somebody discarded it: the next call prepares it again
            raise


def is_unreachable(error: BaseException) -> bool:
    """Whether the database cannot be had, or went away, or somebody holds a lock for too long: ask again later.

    A server that crashes warns before it goes, and then psycopg2 raises a bare DatabaseError.
    """
    from django.db import DatabaseError, InterfaceError, OperationalError

    away = (psycopg2.OperationalError, psycopg2.InterfaceError, OperationalError, InterfaceError, DatabaseUnavailable)
    return isinstance(error, away) or type(error) in (psycopg2.DatabaseError, DatabaseError)


def tidy_connections() -> None:
    """Of this thread: those that are broken, too old, or were left in the middle of something are closed."""
    from django.db import close_old_connections

    close_old_connections()


def is_in_transaction() -> bool:
    """Whether somebody has left an `atomic` block of this thread open."""
    from django.db import connections

    return any(connection.in_atomic_block for connection in connections.all(initialized_only=True))


def connect_asynchronously() -> psycopg2.extensions.connection:
    """The same in psycopg2's asynchronous mode, not open yet: poll it. Times come in the time zone of the server."""
    return psycopg2.connect(**_known_parameters(), async_=True)


def _known_parameters() -> dict[str, Any]:
    from django.db import connections

    known = connections["default"].get_connection_params()
    known.pop("cursor_factory", None)
    return known
