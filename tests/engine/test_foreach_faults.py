"""Items when something goes wrong at the wrong moment: nothing is lost, and nothing stands still."""

from __future__ import annotations

from .conftest import begin, finished, make_flow
from .service import Service
from .test_compensation import paths, undoable
from .test_foreach import REFUSED, each
from .test_transactions_run import http
from .worker import WorkerThread


def test_items_without_a_compensation_are_passed_over(worker: WorkerThread, service: Service) -> None:
    service.answer("/ship", REFUSED)
    tasks = undoable("a", service), each("pay", service, "a"), http("ship", service, "pay")

    txn = finished(begin(make_flow(*tasks, on_failure="compensate"), params={"items": [1, 2]}))

    assert (txn.status, txn.compensation) == ("failed", "done")
    assert paths(service)[-1] == "/undo-a"
