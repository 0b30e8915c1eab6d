"""A worker, a service to call, and the few words that the engine's tests are written in."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dist_task.engine.start import StartRequest, start
from dist_task.invariants.check import verify
from flows.models import Flow
from flows.registry_rows import snapshot
from transactions.models import Transaction

from .service import Service
from .worker import WorkerThread, wait_for

counter = itertools.count()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture
def start_worker(transactional_db: None) -> Iterator[Callable[[], WorkerThread]]:
    workers: list[WorkerThread] = []

    def start_one() -> WorkerThread:
        workers.append(WorkerThread().start())
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.stop()
    broken = verify(never_pruned=True).violations
    assert not broken, "\n".join(map(str, broken))


@pytest.fixture
def worker(start_worker: Callable[[], WorkerThread]) -> WorkerThread:
    return start_worker()


def make_flow(*tasks: dict[str, Any], name: str = "", **head: Any) -> Flow:
    """A flow of these tasks, as it would be after it was posted. `head` are other keys of its definition."""
    return Flow.objects.create(
        name=name or f"flow_{next(counter)}",
        version=1,
        flow_type="test",
        definition=json.dumps({"tasks": list(tasks), **head}),
        task_definitions=snapshot(task["task_name"] for task in tasks if "task_name" in task),
        create_user="test",
    )


def begin(flow: Flow, *, params: dict[str, Any] | None = None, instance_id: str = "") -> str:
    started = start(StartRequest(instance_id or f"txn_{next(counter)}", flow.pk, params or {}), actor="test")
    return started.instance_id


def stored(instance_id: str) -> Transaction:
    return Transaction.objects.get(instance_id=instance_id)


def finished(instance_id: str) -> Transaction:
    """The transaction once it has come to an end."""
    wait_for(lambda: stored(instance_id).is_final)
    return stored(instance_id)
