"""A bank for each database and each kind of connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.mariadb import MISSING, Server, mariadb

from . import bank as banks
from .bank import Bank, Database

DATABASES = ("postgresql", "mysql", "sqlite")
KINDS = ("driver", "django", "core", "session")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if MISSING:
        pytest.skip(MISSING)
    with mariadb() as server:
        yield server


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[Database]:
    with django_db_blocker.unblock(), opened(request.param, request=request, folder=tmp_path) as database:
        yield database


def opened(name: str, *, request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[Database]:
    if name == "postgresql":
        request.getfixturevalue("django_db_setup")
        return banks.postgresql()
    return banks.mysql(request.getfixturevalue("server")) if name == "mysql" else banks.sqlite(folder)


@pytest.fixture(params=KINDS)
def bank(request: pytest.FixtureRequest, database: Database) -> Bank:
    return Bank(getattr(banks, request.param)(database), database=database)
