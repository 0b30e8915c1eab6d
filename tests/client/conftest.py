"""The whole service, a service that it calls, and stand-ins that lose connections."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from dist_task.client import Client
from tests.engine.service import Answer, Service
from tests.house.supervisor import Supervisor
from tests.story.conftest import Client as Owner
from tests.story.conftest import house, service

__all__ = ["house", "service"]

numbers = itertools.count()
STARTED = {"instance_id": "order_1", "flow_id": "flow_1", "status": "pending"}


@pytest.fixture
def client(house: Supervisor) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{house.port}") as client:
        yield client


@pytest.fixture
def owner(house: Supervisor) -> Owner:
    """Registers flows."""
    return Owner(house.port)


@pytest.fixture
def order_id() -> str:
    return f"订单_{next(numbers)}"


@pytest.fixture
def impatient(service: Service) -> Iterator[Client]:
    """Speaks to a service whose answers the test sets."""
    with Client(service.url(""), patience_seconds=5.0, timeout_seconds=5.0) as client:
        yield client


def enveloped(data: object, *, status: int = 200, message: str = "success") -> Answer:
    return Answer(status, body={"code": 0 if status == 200 else status, "message": message, "data": data})
