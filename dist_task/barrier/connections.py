"""Connections of every kind: how each runs a statement, and what one transaction is to it.

Told apart by the packages that their classes come from; none is imported before somebody brings its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import BarrierError

DRIVERS = {"psycopg2": ("postgresql", "%s"), "pymysql": ("mysql", "%s"), "sqlite3": ("sqlite", "?")}
DATABASES = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "sqlite": "sqlite"}
MARKERS = {"qmark": "?", "format": "%s", "pyformat": "%s"}


@dataclass(frozen=True, slots=True)
class Statements:
    """How to run one: it holds `?`, and takes as many values. Gives the count of rows, and the first value or None."""

    database: str
    marker: str
    run: Callable[[str, tuple[Any, ...]], tuple[int, Any]]

    def execute(self, statement: str, *values: Any) -> tuple[int, Any]:
        return self.run(statement.replace("?", self.marker), values)


def unit_of(connection: Any) -> AbstractContextManager[Statements]:
    """One transaction: committed at the end, rolled back when an error leaves it. Raises BarrierError, TypeError."""
    kind = _kind(connection)
    if kind == "django":
        return _atomic(connection)
    statements = _statements(connection, kind=kind)
    if _is_autocommit(_core(connection).connection.dbapi_connection if kind == "sqlalchemy" else connection):
        raise BarrierError(
            "the connection commits each statement by itself, so the work could be kept without its barrier, or the "
            "barrier without its work: switch autocommit off"
        )
    return _ended(connection, statements=statements)


@contextmanager
def outside_of_units(connection: Any) -> Iterator[Statements]:
    """For statements that make tables: MySQL commits what is open for them, so the others do as well, except Django."""
    kind = _kind(connection)
    yield _statements(connection, kind=kind)
    if kind != "django":
        connection.commit()


@contextmanager
def _ended(connection: Any, *, statements: Statements) -> Iterator[Statements]:
    try:
        yield statements
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def _atomic(connection: Any) -> Iterator[Statements]:
    from django.db.transaction import atomic

    with atomic(using=connection.alias):
        yield _statements(connection, kind="django")


def _kind(connection: Any) -> str:
    packages = {cls.__module__.split(".")[0] for cls in type(connection).__mro__}
    for kind in ("django", "sqlalchemy", *DRIVERS):
        if kind in packages and hasattr(connection, "commit") and not hasattr(connection, "run_sync"):
            return kind
    raise TypeError(
        f"{type(connection).__module__}.{type(connection).__qualname__} is no connection that the barrier knows: it "
        f"takes those of {', '.join(DRIVERS)}, of Django, and sessions and connections of SQLAlchemy (behind run_sync "
        "where they are asynchronous)"
    )


def _statements(connection: Any, *, kind: str) -> Statements:
    if kind == "django":
        return Statements(_database(connection.vendor), marker="%s", run=_on_cursor(connection))
    if kind == "sqlalchemy":
        core = _core(connection)
        return Statements(_database(core.dialect.name), marker=MARKERS[core.dialect.paramstyle], run=_on_core(core))
    database, marker = DRIVERS[kind]
    return Statements(database, marker=marker, run=_on_cursor(connection))


def _database(name: str) -> str:
    try:
        return DATABASES[name]
    except KeyError:
        raise TypeError(f"the barrier does not know the database {name}: it knows {', '.join(DATABASES)}") from None


def _core(connection: Any) -> Any:
    """SQLAlchemy's connection, of a session the one behind it, in a transaction that has begun."""
    core = connection.connection() if hasattr(connection, "get_bind") else connection
    if not core.in_transaction():
        core.begin()
    return core


def _on_cursor(connection: Any) -> Callable[[str, tuple[Any, ...]], tuple[int, Any]]:
    def run(statement: str, values: tuple[Any, ...]) -> tuple[int, Any]:
        with closing(connection.cursor()) as cursor:
            cursor.execute(statement, values)
            return cursor.rowcount, _first_value(cursor.fetchone()) if cursor.description else None

    return run


def _on_core(core: Any) -> Callable[[str, tuple[Any, ...]], tuple[int, Any]]:
    def run(statement: str, values: tuple[Any, ...]) -> tuple[int, Any]:
        result = core.exec_driver_sql(statement, values, execution_options={"preserve_rowcount": True})
        return result.rowcount, _first_value(result.first()) if result.returns_rows else None

    return run


def _first_value(row: Any) -> Any:
    """A connection's rows may be dicts, where its owner likes them so."""
    if row is None:
        return None
    return next(iter(row.values())) if isinstance(row, Mapping) else row[0]


def _is_autocommit(driver: Any) -> bool:
    if hasattr(driver, "get_autocommit"):  # PyMySQL, mysqlclient
        return bool(driver.get_autocommit())
    autocommit = getattr(driver, "autocommit", None)
    if isinstance(autocommit, bool):  # psycopg; sqlite3 in its newer way, where a number stands for the older one
        return autocommit
    is_manual = getattr(driver, "isolation_level", "") is None  # sqlite3: its owner writes BEGIN
    return is_manual and not driver.in_transaction
