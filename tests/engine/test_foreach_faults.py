"""Items when something goes wrong at the wrong moment: nothing is lost, and nothing stands still."""

from __future__ import annotations

import pytest

from dist_task.engine.store import claims

from .conftest import begin, finished, make_flow
from .service import Service
from .test_compensation import paths, undoable
from .test_foreach import REFUSED, each
from .test_subflow import exceptions
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
