"""Items when something goes wrong at the wrong moment: nothing is lost, and nothing stands still."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from dist_task.engine.store import claims, leases
from dist_task.engine.store.batch import Begun, Write
from dist_task.models import TaskRun
from tests.recording import claim, record

from .conftest import begin, finished, make_flow, stored
from .service import Service
from .test_compensation import paths, undoable
from .test_foreach import REFUSED, Start, each
from .test_subflow import exceptions, sub
from .test_transactions_run import http
from .worker import WorkerThread


def test_items_without_a_compensation_are_passed_over(worker: WorkerThread, service: Service) -> None:
    service.answer("/ship", REFUSED)
    tasks = undoable("a", service), each("pay", service, "a"), http("ship", service, "pay")

    txn = finished(begin(make_flow(*tasks, on_failure="compensate"), params={"items": [1, 2]}))

    assert (txn.status, txn.compensation) == ("failed", "done")
    assert paths(service)[-1] == "/undo-a"


@pytest.mark.parametrize("key", ["foreach", "when"])
def test_an_expression_over_outputs_that_are_too_large_fails_the_task(
    worker: WorkerThread, service: Service, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr(claims, "MOST_GATHERED_BYTES", 10)
    then = http("then", service, "pay", **{key: "tasks.pay.output"})

    txn = finished(begin(make_flow(each("pay", service), then), params={"items": ["a", "b"]}))

    assert (txn.status, exceptions(txn.instance_id)) == ("failed", [("EXPRESSION_FAILED", "open")])
    assert sorted(paths(service)) == ["/pay/a", "/pay/b"]


def begun_by_the_dead(instance_id: str, begun: Begun) -> None:
    """A worker dies right after it has committed that an attempt begins."""
    with connection.cursor() as cursor:
        worker_id = leases.register(cursor, cluster="", host="", pid=1, lease_seconds=600)
        claim(worker_id=worker_id, limit=1)
        record(Write(stored(instance_id).pk, revision=0, begun=[begun]), worker_id=worker_id)
        leases.retire(cursor, worker_id=worker_id)


@pytest.mark.parametrize("key", ["foreach", "when"])
def test_an_attempt_that_was_not_to_be_made_is_not_made_by_the_next_worker(
    start_worker: Start, service: Service, key: str
) -> None:
    task: dict[str, Any] = sub("ship", make_flow(http("book", service)), **{key: "$error('no')"})
    instance_id = begin(make_flow(task))
    begun_by_the_dead(instance_id, Begun("ship", attempt=1, budget=1, input=None))

    start_worker()

    assert finished(instance_id).status == "failed"
    assert (service.calls, exceptions(instance_id)) == ([], [("WORKER_LOST", "open")])
    assert TaskRun.objects.get(transaction__instance_id=instance_id).item == -1
