"""A flow's `timeout`: nothing of its forward work begins after it, and nothing is awaited any longer."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.engine import operate
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .test_compensation import paths, undoable
from .test_transactions_run import http
from .worker import WorkerThread, wait_for


def codes(instance_id: str) -> dict[str, str]:
    found = TaskRun.objects.filter(transaction__instance_id=instance_id, op="action")
    return dict(found.values_list("task_id", "error_code"))


def test_in_time_nothing_is_different(worker: WorkerThread, service: Service) -> None:
    assert finished(begin(make_flow(http("a", service), http("b", service, "a"), timeout=600))).status == "success"


def test_what_comes_after_it_is_not_called(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(seconds=0.5))

    txn = finished(begin(make_flow(http("a", service), http("b", service, "a"), timeout=0.4)))

    assert txn.status == "failed"
    assert (service.began_count["/a"], service.began_count["/b"]) == (1, 0)
    assert codes(txn.instance_id) == {"a": "TIMEOUT"}


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ({"type": "wait", "config": {"seconds": 900}}, "TIMEOUT"),
        ({"type": "approval", "config": {}}, "NO_ANSWER"),
    ],
)
def test_a_wait_ends_with_it(worker: WorkerThread, task: dict[str, Any], code: str) -> None:
    txn = finished(begin(make_flow({"id": "a", **task}, timeout=0.3)))

    assert (txn.status, codes(txn.instance_id)) == ("failed", {"a": code})


def test_a_retry_that_would_come_after_it_is_not_made(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503))
    retry = {"strategy": "auto", "max_attempts": 5, "interval": 900}

    txn = finished(begin(make_flow(http("a", service, retry=retry), timeout=60)))

    assert (txn.status, len(service.calls)) == ("failed", 1)


def test_what_was_done_until_then_is_undone(worker: WorkerThread, service: Service) -> None:
    slow = {"id": "ask", "type": "approval", "config": {}, "depends_on": ["pay"]}

    txn = finished(begin(make_flow(undoable("pay", service), slow, timeout=0.3, on_failure="compensate")))

    assert (txn.status, txn.compensation) == ("failed", "done")
    assert paths(service) == ["/pay", "/undo-pay"]


def test_after_a_persons_retry_the_time_begins_anew(worker: WorkerThread, service: Service) -> None:
    ask = {"id": "ask", "type": "approval", "config": {}}
    txn = finished(begin(make_flow(ask, http("b", service, "ask"), timeout=5)))
    assert txn.status == "failed"

    operate.retry_transaction(txn.instance_id, actor="ada")
    wait_for(lambda: TaskRun.objects.filter(transaction=txn, status="waiting").exists())
    operate.decide_approval(txn.instance_id, "ask", approve=True, actor="ada", roles=None, remark="why")

    assert finished(txn.instance_id).status == "success"


def test_items_that_have_not_begun_are_left_out(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", *[Answer(seconds=0.2)] * 20)
    flow = make_flow(http("pay", service, foreach="[1..20]", max_parallel=1), timeout=0.7)

    txn = finished(begin(flow))

    assert txn.status == "failed"
    assert len(service.calls) < 20
    record = ExceptionRecord.objects.get(transaction=txn, item=-1)
    assert record.error_code == "FLOW_TIMEOUT"
    assert "items have not begun" in record.error_message
    begun = TaskRun.objects.filter(transaction=txn).exclude(item=-1).count()
    assert begun - len(service.calls) in (0, 1), "the last one may have run out of time before it was heard"
