"""MySQL and MariaDB, over PyMySQL. Its timeouts begin anew with every byte, so a timer cuts the socket."""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any, Self

import pymysql
from django.utils.translation import gettext as _
from pymysql.constants import CLIENT

from dist_task.errors import ExecutionError
from dist_task.executors.failures import not_connected, not_connected_in_time

from . import failures
from .access import BARRIER_TABLE, Access
from .change import Change
from .session import Answer
from .statement import Statement, insert, statement_of, update_by_key

BARRIER_SQL = f"""\
CREATE TABLE IF NOT EXISTS {BARRIER_TABLE} (
    gid varchar(64) NOT NULL,
    branch_id varchar(80) NOT NULL,
    op varchar(16) NOT NULL,
    barrier_id varchar(64) NOT NULL,
    reason varchar(16) NOT NULL,
    answer mediumtext,
    created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
    PRIMARY KEY (gid, branch_id, op, barrier_id),
    INDEX {BARRIER_TABLE}_created_at (created_at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"""
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Without it a value that does not fit is cut in silence. It also settles how strings are quoted."""
ENGINE = (
    "SELECT e.transactions AS transactions FROM information_schema.tables t JOIN information_schema.engines e"
    " ON e.engine = t.engine WHERE t.table_schema = COALESCE(%s, DATABASE()) AND t.table_name = %s"
)
DUPLICATE, NO_SUCH_TABLE = 1062, 1146
LOST = frozenset({2006, 2013, 2014, 2055})
TEMPORARY = frozenset(
    {1021, 1023, 1030, 1040, 1041, 1053, 1077, 1079, 1114, 1129, 1180, 1203, 1205, 1213, 1226, 1290, 1317, 1412, 1614}
    | {1637, 1836, 1927, 1969, 3024, 3572, 4031}
)
"""Deadlocks, lock and time limits, too many connections, full disks, a server that stops or only reads."""
DEFINITE_AT_COMMIT = frozenset({1205, 1213})
MARGIN = 0.9
"""The share of the time after which the server itself gives up: then it says what it waited for."""


class _Guard:
    """Cuts the socket at a time. What waits on it then ends with an error."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._timer: threading.Timer | None = None
        self.has_cut = False

    def arm(self, ends_at: float) -> None:
        self.disarm()
        self._timer = threading.Timer(max(ends_at - time.monotonic(), 0.0), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def close(self) -> None:
        self.disarm()
        self._wire.close()

    def _cut(self) -> None:
        self.has_cut = True
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)


class MysqlSession:
    latest = " LOCK IN SHARE MODE"

    def __init__(self, connection: Any, *, guard: _Guard) -> None:
        self._connection = connection
        self._guard = guard
        self._with_transactions: set[str] = set()
        self._is_broken = False

    @classmethod
    def connect(cls, access: Access, *, ends_at: float) -> Self:
        """Raises ExecutionError."""
        ends_at = min(ends_at, time.monotonic() + access.connect_seconds)
        wire = _wire(access, ends_at=ends_at)
        guard = _Guard(wire.dup())
        guard.arm(ends_at)
        try:
            connection = pymysql.connect(**_parameters(access))
            connection.connect(wire)
        except (pymysql.Error, OSError, ValueError, RuntimeError) as error:
            wire.close()
            guard.close()
            raise not_connected_in_time() if guard.has_cut else _not_connected(access, error) from None
        guard.disarm()
        return cls(connection, guard=guard)

    @property
    def is_usable(self) -> bool:
        return not self._is_broken and not self._guard.has_cut

    def begin(self, *, ends_at: float, patience_seconds: float) -> None:
        now = time.monotonic()
        self._guard.arm(min(ends_at, now + patience_seconds))
        limit = max((ends_at - now) * MARGIN, 0.001)
        whole = max(1, math.floor(limit))
        limits = f"innodb_lock_wait_timeout = {whole}, lock_wait_timeout = {whole}"
        if "MariaDB" in self._connection.server_version:  # MySQL limits SELECT only
            limits += f", max_statement_time = {limit:.3f}"
        self._run(Statement(f"SET SESSION {limits}"))
        self._run(Statement("BEGIN"))
        self._guard.arm(ends_at)

    def execute(self, statement: Statement) -> Answer:
        return self._run(statement)

    def insert_once(self, statement: Statement) -> bool:
        """By the error of a duplicate, which leaves the transaction as it was; IGNORE would cut what is too long."""
        self._refuse_without_transactions(BARRIER_TABLE)
        try:
            self._run(statement._replace(text=f"INSERT INTO {statement.text}"))
        except ExecutionError as error:
            if error.code == f"MYSQL_{DUPLICATE}":
                return False
            if error.code == f"MYSQL_{NO_SUCH_TABLE}":
                raise failures.no_barrier_table(BARRIER_SQL) from None
            raise
        return True

    def apply(self, change: Change) -> Answer:
        self._refuse_without_transactions(change.table)
        if change.operation == "upsert":
            return self._upsert(change)
        return self._run(statement_of(change, quote=_quote))

    def commit(self) -> None:
        try:
            self._roundtrip(Statement("COMMIT"))
        except pymysql.Error as error:
            if _number(error) in DEFINITE_AT_COMMIT:
                raise self._refusal(error) from None
            self._is_broken = True
            raise failures.commit_unknown(_("no answer in time") if self._guard.has_cut else _reason(error)) from None
        self._guard.disarm()

    def rollback(self) -> None:
        self._run(Statement("ROLLBACK"))
        self._guard.disarm()

    def create_barrier(self) -> None:
        self._run(Statement(BARRIER_SQL))

    def close(self) -> None:
        self._is_broken = True
        self._guard.close()
        with suppress(pymysql.Error):
            self._connection.close()

    def _upsert(self, change: Change) -> Answer:
        """Not by ON DUPLICATE KEY UPDATE, which changes the row of whatever unique key it meets first."""
        self._refuse_without_key(change)
        by_key = update_by_key(change, _quote)
        if (found := self._run(by_key)).rows:
            return found
        try:
            return self._run(insert(change, _quote))
        except ExecutionError as error:
            if error.code != f"MYSQL_{DUPLICATE}":
                raise
            if (found := self._run(by_key)).rows:  # somebody has put it in between
                return found
            raise

    def _refuse_without_key(self, change: Change) -> None:
        columns: dict[str, set[str]] = {}
        for record in self._run(Statement(f"SHOW INDEX FROM {_quote(change.table)} WHERE Non_unique = 0")).records:
            columns.setdefault(record["Key_name"], set()).add(str(record["Column_name"]).lower())
        if {column.lower() for column in change.conflict} not in columns.values():
            raise failures.no_unique_key(change.conflict)

    def _refuse_without_transactions(self, table: str) -> None:
        """MyISAM and the like keep what is rolled back: neither caps nor the barrier would hold."""
        if table in self._with_transactions:
            return
        schema, _dot, name = table.rpartition(".")
        records = self._run(Statement(ENGINE, (schema or None, name))).records
        if records and records[0]["transactions"] == "YES":
            self._with_transactions.add(table)
        elif records:
            raise failures.no_transactions(table)

    def _run(self, statement: Statement) -> Answer:
        try:
            return self._roundtrip(statement)
        except pymysql.Error as error:
            raise self._refusal(error) from None

    def _roundtrip(self, statement: Statement) -> Answer:
        with self._connection.cursor() as cursor:
            cursor.execute(statement.text, statement.values or None)
            names = [column[0] for column in cursor.description or ()]
            records = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()] if names else ()
            return Answer(rows=cursor.rowcount, records=tuple(records), inserted_id=cursor.lastrowid or None)

    def _refusal(self, error: pymysql.Error) -> ExecutionError:
        """Of a statement before the commit: it is not done, whatever happened."""
        number = _number(error)
        self._is_broken = self._is_broken or not self._connection.open or number in LOST or not number
        if self._guard.has_cut:
            return failures.late()
        if self._is_broken:
            return failures.lost(_reason(error))
        return failures.by_database(_reason(error), code=f"MYSQL_{number}", permanent=number not in TEMPORARY)


def _quote(name: str) -> str:
    return ".".join(f"`{part.replace('`', '``')}`" for part in name.split("."))


def _number(error: Exception) -> int:
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def _reason(error: Exception) -> str:
    return str(error.args[1] if len(error.args) > 1 else error)


def _not_connected(access: Access, error: Exception) -> ExecutionError:
    number = _number(error)
    if isinstance(error, pymysql.Error) and 1000 <= number < 2000 and number not in TEMPORARY:
        return failures.by_database(_reason(error), code=f"MYSQL_{number}", permanent=True)
    return not_connected(access.place, failures.shown(_reason(error)))


def _wire(access: Access, *, ends_at: float) -> socket.socket:
    seconds = max(ends_at - time.monotonic(), 0.001)
    try:
        if access.socket:
            wire = socket.socket(socket.AF_UNIX)
            wire.settimeout(seconds)
            wire.connect(access.socket)
        else:
            wire = socket.create_connection((access.host, access.port), timeout=seconds)
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except TimeoutError:
        raise not_connected_in_time() from None
    except OSError as error:
        raise not_connected(access.place, error) from None
    return wire


def _parameters(access: Access) -> dict[str, Any]:
    """Rows are counted where they were found, changed or not, as PostgreSQL counts them."""
    return {
        "host": access.host,
        "user": access.user,
        "password": access.password.encode(),
        "database": access.database,
        "charset": "utf8mb4",
        "sql_mode": SQL_MODE,
        "client_flag": CLIENT.FOUND_ROWS,
        "program_name": "dist_task",
        "defer_connect": True,
        **_tls(access),
    }


def _tls(access: Access) -> dict[str, Any]:
    if access.tls == "off":
        return {"ssl_disabled": True}
    if access.tls == "prefer" and not access.cert_file:
        return {}
    context = ssl.create_default_context(cafile=access.ca_file or None)
    if access.tls != "verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.cert_file:
        context.load_cert_chain(access.cert_file, access.key_file or None)
    return {"ssl": context}
