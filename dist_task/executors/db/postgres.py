"""PostgreSQL, over psycopg2 in its asynchronous mode: every wait has an end, which its blocking calls do not have."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from typing import Any, Self

import psycopg2
from django.utils.translation import gettext as _
from psycopg2 import sql
from psycopg2.extensions import POLL_OK, POLL_READ

from dist_task.errors import ExecutionError
from dist_task.executors.failures import not_connected, not_connected_in_time

from . import failures
from .access import BARRIER_TABLE, Access
from .change import Change
from .session import Answer
from .statement import Statement, statement_of

BARRIER_SQL = f"""\
CREATE TABLE IF NOT EXISTS {BARRIER_TABLE} (
    gid varchar(64) COLLATE "C" NOT NULL,
    branch_id varchar(80) COLLATE "C" NOT NULL,
    op varchar(16) COLLATE "C" NOT NULL,
    barrier_id varchar(64) COLLATE "C" NOT NULL,
    reason varchar(16) NOT NULL,
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gid, branch_id, op, barrier_id)
);
CREATE INDEX IF NOT EXISTS {BARRIER_TABLE}_created_at ON {BARRIER_TABLE} (created_at)"""
OURS = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = 'dist_task_taskrun' AND relkind IN ('r', 'p'))"
"""Whether this is the database of a dist_task service: its tables show it, in whatever schema, to every role."""
SSL_MODES = {"off": "disable", "prefer": "prefer", "require": "require", "verify": "verify-full"}
PERMANENT_CLASSES = frozenset({"0A", "0L", "0P", "21", "22", "23", "28", "2B", "3D", "3F", "42", "44", "54", "P0"})
"""Of SQLSTATEs: what the statement, the data, the rights or a rule of the database are wrong in."""
DEFINITE_AT_COMMIT = frozenset({"23", "40", "P0"})
COMPLETION_UNKNOWN = "40003"
UNDEFINED_TABLE = "42P01"
MADE_MEANWHILE = frozenset({"SQLSTATE_23505", "SQLSTATE_42P07", "SQLSTATE_42710"})
MARGIN = 0.9
"""The share of the time after which the server itself gives up: then it says what it waited for."""


class _Late(Exception):
    """No answer within the deadline."""


class PostgresSession:
    latest = ""  # each statement does, at the usual level

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._ends_at = 0.0
        self.is_usable = True

    @classmethod
    def connect(cls, access: Access, *, ends_at: float) -> Self:
        """Raises ExecutionError, as well where it is the database of a dist_task service."""
        try:
            session = cls(psycopg2.connect(**_parameters(access), async_=True))
        except psycopg2.Error as error:
            raise not_connected(access.place, failures.shown(error)) from None
        try:
            session._open(access, ends_at=min(ends_at, time.monotonic() + access.connect_seconds))
            session._ends_at = ends_at
            if session._run(Statement(OURS)).records[0]["exists"]:
                raise failures.own_database(access.name)
        except BaseException:
            session.close()
            raise
        return session

    def _open(self, access: Access, *, ends_at: float) -> None:
        self._ends_at = ends_at
        try:
            self._wait()
        except _Late:
            raise not_connected_in_time() from None
        except psycopg2.Error as error:
            raise not_connected(access.place, failures.shown(error)) from None

    def begin(self, *, ends_at: float, patience_seconds: float) -> None:
        now = time.monotonic()
        limit = max(1, int((ends_at - now) * MARGIN * 1000))
        limits = "".join(
            f"; SET LOCAL {name} = {limit}"
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        )
        self._ends_at = min(ends_at, now + patience_seconds)
        self._run(Statement(f"BEGIN{limits}"))
        self._ends_at = ends_at

    def execute(self, statement: Statement) -> Answer:
        return self._run(statement)

    def insert_once(self, statement: Statement) -> bool:
        text = f"INSERT INTO {statement.text} ON CONFLICT DO NOTHING"
        try:
            return self._run(statement._replace(text=text)).rows == 1
        except ExecutionError as error:
            if error.code == f"SQLSTATE_{UNDEFINED_TABLE}":
                raise failures.no_barrier_table(BARRIER_SQL) from None
            raise

    def apply(self, change: Change) -> Answer:
        return self._run(statement_of(change, quote=self._quote))

    def commit(self) -> None:
        try:
            self._roundtrip(Statement("COMMIT"))
        except _Late:
            self.is_usable = False
            raise failures.commit_unknown(_("no answer in time")) from None
        except psycopg2.Error as error:
            if _is_definite_at_commit(error):
                raise self._refusal(error) from None
            self.is_usable = False
            raise failures.commit_unknown(error) from None

    def rollback(self) -> None:
        self._run(Statement("ROLLBACK"))

    def create_barrier(self) -> None:
        try:
            self._run(Statement(BARRIER_SQL))
        except ExecutionError as error:
            if error.code not in MADE_MEANWHILE:
                raise

    def close(self) -> None:
        self.is_usable = False
        with suppress(psycopg2.Error):
            self._connection.close()

    def _quote(self, name: str) -> str:
        return sql.Identifier(*name.split(".")).as_string(self._connection)

    def _run(self, statement: Statement) -> Answer:
        try:
            return self._roundtrip(statement)
        except _Late:
            self.is_usable = False
            raise failures.late() from None
        except psycopg2.Error as error:
            raise self._refusal(error) from None

    def _roundtrip(self, statement: Statement) -> Answer:
        cursor = self._connection.cursor()
        cursor.execute(statement.text, statement.values or None)
        self._wait()
        names = [column.name for column in cursor.description or ()]
        records = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else ()
        return Answer(rows=max(cursor.rowcount, 0), records=tuple(records))

    def _wait(self) -> None:
        while (state := self._connection.poll()) != POLL_OK:
            seconds = self._ends_at - time.monotonic()
            if seconds <= 0 or not _ready(self._connection.fileno(), reading=state == POLL_READ, seconds=seconds):
                raise _Late

    def _refusal(self, error: psycopg2.Error) -> ExecutionError:
        """Of a statement before the commit: it is not done, whatever happened."""
        self.is_usable = self.is_usable and not self._connection.closed and error.pgcode is not None
        if error.pgcode is None:
            return failures.lost(error)
        reason = (error.diag.message_primary if error.diag else None) or error
        permanent = error.pgcode[:2] in PERMANENT_CLASSES
        return failures.by_database(str(reason), code=f"SQLSTATE_{error.pgcode}", permanent=permanent)


def _is_definite_at_commit(error: psycopg2.Error) -> bool:
    """A deferred constraint or a conflict of serialisation: rolled back. All else may have come after the commit."""
    code = error.pgcode or ""
    return code[:2] in DEFINITE_AT_COMMIT and code != COMPLETION_UNKNOWN


def _ready(fd: int, *, reading: bool, seconds: float) -> bool:
    poll = select.poll()  # select() knows no descriptor above 1023
    poll.register(fd, select.POLLIN if reading else select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def _parameters(access: Access) -> dict[str, Any]:
    """All that libpq would else take from its environment."""
    files = {"sslrootcert": access.ca_file, "sslcert": access.cert_file, "sslkey": access.key_file}
    if access.tls == "verify" and not access.ca_file:
        files["sslrootcert"] = "system"
    return {
        "host": access.socket or access.host,
        "port": access.port,
        "dbname": access.database,
        "user": access.user,
        "password": access.password,
        "passfile": os.devnull,
        "sslmode": SSL_MODES[access.tls],
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "application_name": "dist_task",
        **{key: path for key, path in files.items() if path},
    }
