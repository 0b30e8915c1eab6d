"""Databases of somebody else, on real servers, with a role for tasks that may do what the documents say it needs."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg2
import pymysql
from django.db import connection

from dist_task.executors.db import mysql, postgres
from tests.engine.worker import wait_for
from tests.mariadb import Server

HOSTILE = "o\"d`d; DROP TABLE accounts -- '"
"""The name of a column, which both databases allow."""
COLUMNS = ["id", "balance", "price", "note", "at", "doc", "flag", HOSTILE]
TABLES = {
    "accounts": {"columns": COLUMNS, "operations": ["insert", "update", "delete", "upsert"]},
    "keyless": {"columns": ["id", "balance"], "operations": ["upsert"]},
    "orders": {"columns": ["id", "account"], "operations": ["insert"]},
}


@dataclass
class Shop:
    """`run` acts as the owner, each statement for itself. `password` is that of the role."""

    dialect: str
    owner: Any
    place: dict[str, Any]
    role: str = field(default_factory=lambda: f"tasks_{secrets.token_hex(4)}")
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)

    def run(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.owner.cursor() as cursor:
            cursor.execute(text, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def config(self, **more: Any) -> dict[str, Any]:
        """What somebody registers."""
        return {"kind": "db", "user": self.role, "password": self.password, "tables": TABLES, **self.place, **more}

    def other(self, **parameters: Any) -> Any:
        """A second connection of the owner, in a transaction."""
        if self.dialect == "postgresql":
            return psycopg2.connect(**{**server_parameters(self.owner.info.dbname), **parameters})
        given = {"host": self.owner.host, "port": self.owner.port, "user": self.owner.user}
        given |= {"password": self.owner.password, "database": self.owner.db, "charset": "utf8mb4"}
        return pymysql.connect(**given)

    def _end_others(self) -> None:
        """Whatever a failed test has left: it may hold locks."""
        if self.dialect == "postgresql":
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            self.run(f"SELECT pg_terminate_backend(pid) {others}")
            return
        for (number,) in self.run("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()"):
            with suppress(pymysql.Error):  # it has gone meanwhile
                self.run(f"KILL {number}")

    def wire(self) -> socket.socket:
        """A new connection to the server, below its protocol."""
        if folder := self.place.get("socket"):
            end = socket.socket(socket.AF_UNIX)
            end.connect(f"{folder}/.s.PGSQL.5432")
            return end
        parts = urlsplit(self.place["url"])
        return socket.create_connection((parts.hostname, parts.port))

    def through(self, port: int) -> dict[str, Any]:
        """A connection's configuration by way of this port on loopback."""
        scheme, database = self.place["url"].partition(":")[0], self.place["url"].rpartition("/")[2]
        return {"url": f"{scheme}://127.0.0.1:{port}/{database}", "socket": "", "tls": "off"}

    def balance(self, account: str) -> Any:
        found = self.run("SELECT balance FROM accounts WHERE id = %s", account)
        return found[0][0] if found else None

    @property
    def barrier(self) -> list[tuple[Any, ...]]:
        rows = self.run("SELECT gid, branch_id, op, reason FROM dist_task_barrier ORDER BY gid, branch_id, op")
        return [tuple(row) for row in rows]

    def renew(self) -> None:
        """Empty tables but for two accounts, an empty barrier, and just the rights that a role needs."""
        self._end_others()
        for text in (renew_postgres if self.dialect == "postgresql" else renew_mariadb)(self):
            self.run(text)
        for account, balance in (("ann", 100), ("bob", 0)):
            self.run("INSERT INTO accounts (id, balance) VALUES (%s, %s)", account, balance)


class Locked:
    """The row of an account, by somebody else; with `much`, who has done more than anybody and is in no hurry."""

    def __init__(self, shop: Shop, *, account: str = "ann", much: bool = False) -> None:
        self._shop = shop
        self._connection = shop.other()
        if much and shop.dialect == "postgresql":
            self.run("SET deadlock_timeout = '60s'")
        for number in range(50 if much else 0):
            self.run("INSERT INTO keyless (id, balance) VALUES (%s, 0)", number)
        self.run("SELECT * FROM accounts WHERE id = %s FOR UPDATE", account)

    def run(self, text: str, *values: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(text, values or None)

    def until_somebody_waits(self) -> None:
        waiting = {
            "postgresql": "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()",
            # The view of InnoDB's locks shows nothing new to who looks more often than every 0.1 s.
            "mysql": "SELECT count(*) FROM information_schema.processlist WHERE user LIKE 'tasks%' AND time_ms > 50"
            " AND command = 'Query'",
        }
        wait_for(lambda: self._shop.run(waiting[self._shop.dialect])[0][0] > 0)

    def release(self) -> None:
        self._connection.rollback()
        self._connection.close()


def renew_postgres(shop: Shop) -> Iterator[str]:
    yield "DROP SCHEMA IF EXISTS public CASCADE"
    yield "CREATE SCHEMA public"
    yield f"GRANT USAGE ON SCHEMA public TO {shop.role}"
    odd = '"' + HOSTILE.replace('"', '""') + '"'
    yield (
        "CREATE TABLE accounts (id varchar(64) PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0),"
        f" price numeric(30, 10), note text, at timestamptz, doc jsonb, flag boolean, {odd} text)"
    )
    yield "CREATE TABLE keyless (id varchar(64), balance bigint)"
    yield (
        "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " account varchar(64) REFERENCES accounts DEFERRABLE INITIALLY DEFERRED)"
    )
    yield postgres.BARRIER_SQL
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON accounts, keyless, orders TO {shop.role}"
    yield f"GRANT SELECT, INSERT, UPDATE ON dist_task_barrier TO {shop.role}"


def renew_mariadb(shop: Shop) -> Iterator[str]:
    for table in ("orders", "accounts", "keyless", "dist_task_barrier"):
        yield f"DROP TABLE IF EXISTS {table}"
    odd = "`" + HOSTILE.replace("`", "``") + "`"
    yield (
        "CREATE TABLE accounts (id varchar(64) PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0),"
        f" price decimal(30, 10), note text, at datetime(6), doc json, flag boolean, {odd} text) COLLATE utf8mb4_bin"
    )
    yield "CREATE TABLE keyless (id varchar(64), balance bigint)"
    yield (
        "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, account varchar(64) COLLATE utf8mb4_bin,"
        " FOREIGN KEY (account) REFERENCES accounts (id))"
    )
    yield mysql.BARRIER_SQL
    yield f"DROP USER IF EXISTS {shop.role}@'127.0.0.1'"
    yield f"CREATE USER {shop.role}@'127.0.0.1' IDENTIFIED BY '{shop.password}'"
    for table in ("accounts", "keyless", "orders"):
        yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {shop.role}@'127.0.0.1'"
    yield f"GRANT SELECT, INSERT, UPDATE ON dist_task_barrier TO {shop.role}@'127.0.0.1'"


def server_parameters(database: str) -> dict[str, Any]:
    """Into another database of the test's own server."""
    known = connection.get_connection_params()
    return {**{key: known[key] for key in ("host", "port", "user", "password") if known.get(key)}, "dbname": database}


@contextmanager
def postgres_shop() -> Iterator[Shop]:
    """A second database and a role of its own, in the server that the tests run on."""
    name = f"shop_{secrets.token_hex(4)}"
    server = psycopg2.connect(**server_parameters("postgres"))
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    owner = psycopg2.connect(**server_parameters(name))
    owner.autocommit = True
    shop = Shop("postgresql", owner=owner, place=place_of(name))
    shop.run(f"CREATE ROLE {shop.role} LOGIN PASSWORD '{shop.password}'")
    try:
        yield shop
    finally:
        owner.close()
        with server.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
            cursor.execute(f"DROP ROLE {shop.role}")
        server.close()


def place_of(database: str) -> dict[str, Any]:
    known = server_parameters(database)
    if (host := known["host"]).startswith("/"):
        return {"url": f"postgresql:///{database}", "socket": host}
    return {"url": f"postgresql://{quote(host)}:{known.get('port', 5432)}/{database}"}


@contextmanager
def mariadb_shop(server: Server) -> Iterator[Shop]:
    owner = server.connect(autocommit=True)
    place = {"url": f"mysql://{server.host}:{server.port}/{server.database}"}
    try:
        yield Shop("mysql", owner=owner, place=place)
    finally:
        owner.close()
