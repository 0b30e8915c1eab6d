"""A database of its own for a peer, in the embedded PostgreSQL of the measured service: the same settings for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote

from psycopg2 import sql

from bench.stand import Stand


@contextmanager
def new_database(stand: Stand, name: str) -> Iterator[Callable[[str], int]]:
    """Empty, and gone at the end. Gives a function that asks it for a number."""
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with closing(stand.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(drop)
        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield lambda query: ask(stand, name, query=query)
        finally:
            cursor.execute(drop)


def ask(stand: Stand, name: str, *, query: str) -> int:
    with closing(stand.connect(name)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchall()[0][0])


def url(stand: Stand, database: str, *, scheme: str = "postgresql") -> str:
    found = stand.database_parameters(database)
    return f"{scheme}://{found['user']}:{quote(found['password'])}@/{database}?host={quote(found['host'], safe='')}"


def postmaster(stand: Stand) -> int:
    """The process that all of its processes come from."""
    return next(process.pid for process in stand.processes() if process.name == "postgres" and "-D" in process.command)
