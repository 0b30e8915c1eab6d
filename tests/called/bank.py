"""A called service: an account behind the barrier, in each database, reached over each kind of connection."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import sqlalchemy
from django.db import ConnectionHandler, connections
from sqlalchemy.orm import Session

from dist_task.barrier import Call, Turn, barrier, create_table
from dist_task.database import connect
from tests.house.conftest import until
from tests.mariadb import Server

AMOUNT = 100
numbers = itertools.count()

Open = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Database:
    """An empty one. `is_waiting`: whether a statement waits there for another transaction, as far as it can say."""

    connect: Open
    is_waiting: Callable[[], bool]
    dialect: str
    django: dict[str, Any]


def execute(connection: Any, statement: str) -> Any:
    """On any kind of connection; something to fetch rows from."""
    if hasattr(connection, "get_bind"):
        return connection.connection().exec_driver_sql(statement)
    if hasattr(connection, "exec_driver_sql"):
        return connection.exec_driver_sql(statement)
    cursor = connection.cursor()
    cursor.execute(statement)
    return cursor


class Bank:
    """One account. An action takes 10 from it, its compensation gives them back."""

    def __init__(self, open_: Open, *, database: Database) -> None:
        self.open, self.database = open_, database
        with closing(self.open()) as connection:
            create_table(connection)
        with closing(database.connect()) as plain:
            execute(plain, "CREATE TABLE account (amount integer NOT NULL)")
            execute(plain, f"INSERT INTO account VALUES ({AMOUNT})")  # noqa: S608
            plain.commit()

    @property
    def amount(self) -> int:
        with closing(self.database.connect()) as plain:
            return int(execute(plain, "SELECT amount FROM account").fetchone()[0])

    def answer(self, call: Call, *, then: Callable[[], object] = lambda: None) -> Turn:
        """What the service does with a call, on a connection of its own; `then` comes before its transaction ends."""
        with closing(self.open()) as connection, barrier(connection, call) as turn:
            if turn.is_mine:
                change = "- 10" if call.op == "action" else "+ 10"
                execute(connection, f"UPDATE account SET amount = amount {change}")  # noqa: S608
                turn.answer = {"receipt": f"{call.op} of {call.instance_id}"}
            then()
        return turn

    def refuse(self, call: Call) -> None:
        """The work was done when it came out that it must not be."""
        try:
            self.answer(call, then=_refuse)
        except Refused:
            return
        raise AssertionError("the call was not refused")

    @contextmanager
    def held(self, call: Call, *, refuse: bool = False) -> Iterator[Future[Turn]]:
        """The call is in the middle of its work while the body runs, and goes on at its end."""
        arrived, gate = threading.Event(), threading.Event()

        def stand() -> None:
            arrived.set()
            assert gate.wait(60)
            if refuse:
                _refuse()

        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.answer, call, then=stand)
            until(lambda: arrived.is_set() or answer.done())
            try:
                yield answer
            finally:
                gate.set()


class Refused(Exception):  # noqa: N818
    """The service's own error."""


def _refuse() -> None:
    raise Refused


# -- databases -----------------------------------------------------------------------------------------------


@contextmanager
def postgresql() -> Iterator[Database]:
    """A schema in the tests' database."""
    schema = f"bank_{next(numbers)}"
    settings = connections["default"].settings_dict
    options = {"options": f"-c search_path={schema}"}
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with closing(connect(autocommit=True)) as owner:
        execute(owner, f"CREATE SCHEMA {schema}")
        yield Database(
            lambda: connect(**options),
            is_waiting=lambda: _counts(owner, waiting),
            dialect="postgresql+psycopg2",
            django={**settings, "OPTIONS": {**settings["OPTIONS"], **options}},
        )
        execute(owner, f"DROP SCHEMA {schema} CASCADE")


@contextmanager
def mysql(server: Server) -> Iterator[Database]:
    """A database in the server."""
    name = f"bank_{next(numbers)}"
    # Of the tables that show locks InnoDB answers a copy, which polling keeps from being made anew.
    waiting = (
        "SELECT variable_value FROM information_schema.global_status"
        " WHERE variable_name = 'Innodb_row_lock_current_waits'"
    )
    with closing(server.connect(autocommit=True)) as owner:
        execute(owner, f"CREATE DATABASE {name}")
        yield Database(
            lambda **more: server.connect(database=name, **more),
            is_waiting=lambda: _counts(owner, waiting),
            dialect="mysql+pymysql",
            django={
                "ENGINE": "django.db.backends.mysql",
                "NAME": name,
                "USER": server.user,
                "PASSWORD": server.password,
                "HOST": server.host,
                "PORT": server.port,
            },
        )
        execute(owner, f"DROP DATABASE {name}")


@contextmanager
def sqlite(folder: Path) -> Iterator[Database]:
    file = folder / "bank.sqlite3"
    yield Database(
        lambda: sqlite3.connect(file, timeout=60),
        is_waiting=lambda: True,  # it cannot be asked; its writers come one after the other whenever they begin
        dialect="sqlite",
        django={"ENGINE": "django.db.backends.sqlite3", "NAME": file},
    )


def _counts(connection: Any, query: str) -> bool:
    return int(execute(connection, query).fetchone()[0]) > 0


# -- connections ---------------------------------------------------------------------------------------------


def driver(database: Database) -> Open:
    return database.connect


def django(database: Database) -> Open:
    """Known to Django under a name of its own, in the thread that asks."""

    def known() -> Any:
        if database.dialect == "mysql+pymysql":
            pymysql.install_as_MySQLdb()
        alias = f"bank_{next(numbers)}"
        connections[alias] = ConnectionHandler({"default": {}, alias: database.django})[alias]
        return connections[alias]

    return known


def core(database: Database) -> Open:
    return _engine(database).connect


def session(database: Database) -> Open:
    engine = _engine(database)
    return lambda: Session(engine)


def _engine(database: Database) -> sqlalchemy.Engine:
    creator: Any = database.connect
    if database.dialect == "mysql+pymysql":  # what SQLAlchemy asks for where it opens the connection itself
        creator = lambda: database.connect(client_flag=pymysql.constants.CLIENT.FOUND_ROWS)  # noqa: E731
    return sqlalchemy.create_engine(f"{database.dialect}://", creator=creator, poolclass=sqlalchemy.NullPool)
