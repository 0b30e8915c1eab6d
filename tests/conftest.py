"""Fixtures for every test: the database."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from django.db import connection
from django.utils.translation import deactivate

from tests.brokers import rabbitmq, rabbitmq_server, redis, redis_server

# A shell's background job ignores it, and so would what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["rabbitmq", "rabbitmq_server", "redis", "redis_server"]  # fixtures: real servers


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A request leaves its language with the thread, where the next test would find it."""
    yield
    deactivate()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: pytest.FixtureRequest) -> Iterator[None]:
    """pytest-django's test database; connections that a test left open do not keep it from being dropped."""
    yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
