"""Items when something goes wrong at the wrong moment: nothing is lost, and nothing stands still."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection, connections

from dist_task.engine import operate
from dist_task.engine.store import claims, leases
from dist_task.engine.store.batch import Begun, Write
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from tests.recording import claim, record

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import paths, undoable
from .test_foreach import REFUSED, Start, each, runs
from .test_subflow import exceptions, sub
from .test_transactions_run import http
from .worker import WorkerThread, wait_for


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


def test_an_item_that_is_retried_just_before_its_task_would_fail_is_tried_again(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/pay/a", REFUSED)
    service.answer("/pay/b", Answer(seconds=0.3))
    flow = make_flow(each("pay", service, optional=True), http("then", service, "pay"))
    submit, retried = worker.drain.submit, []

    def retry() -> None:
        record = ExceptionRecord.objects.get(item=0)
        retried.append(operate.retry_exception(record.pk, actor="ada", delay_seconds=0))
        connections.close_all()

    def submit_after_the_retry(write: Write, *, hand: Any) -> None:
        if not retried and any(ended.error_code == "ITEMS_FAILED" for ended in write.ended):
            person = threading.Thread(target=retry)
            person.start()
            person.join()
        submit(write, hand=hand)

    worker.drain.submit = submit_after_the_retry
    txn = finished(begin(flow, params={"items": ["a", "b"]}))

    assert retried and sorted(paths(service)) == ["/pay/a", "/pay/a", "/pay/b", "/then"]
    assert runs(txn.instance_id) == {-1: "success", 0: "success", 1: "success"}


def test_an_exception_of_the_task_ends_when_its_items_have_theirs(worker: WorkerThread, service: Service) -> None:
    service.answer("/look", REFUSED)
    service.answer("/pay", REFUSED)
    look = http("look", service, optional=True)
    pay = http("pay", service, "look", foreach="tasks.look.output.status = 200 ? [1] : $error('no')")
    txn = finished(begin(make_flow(look, pay)))

    operate.retry_transaction(txn.instance_id, actor="ada")

    wait_for(lambda: service.calls_of("/pay"))
    finished(txn.instance_id)
    found = ExceptionRecord.objects.filter(task_id="pay").values_list("item", "error_code", "status")
    assert sorted(found) == [(-1, "EXPRESSION_FAILED", "handled"), (0, "NO_STOCK", "open")]


def test_an_item_is_retried_now_though_another_one_is_to_be_retried_later(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/pay/a", REFUSED)
    service.answer("/pay/b", REFUSED)
    txn = finished(begin(make_flow(each("pay", service)), params={"items": ["a", "b"]}))
    later, now = ExceptionRecord.objects.order_by("item")
    operate.retry_exception(later.pk, actor="ada", delay_seconds=3600)

    operate.retry_exception(now.pk, actor="ada", delay_seconds=0)

    wait_for(lambda: len(service.calls_of("/pay/b")) == 2)
    assert len(service.calls_of("/pay/a")) == 1
    operate.retry_exception(later.pk, actor="ada", delay_seconds=0)
    assert finished(txn.instance_id).status == "success"


def test_outputs_are_weighed_as_they_are_and_not_as_they_are_stored(
    worker: WorkerThread, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed, a text of one letter is next to nothing; in the memory of a worker it is not."""
    monkeypatch.setattr(claims, "MOST_GATHERED_BYTES", 50_000)
    service.answer("/pay/a", Answer(body={"text": "x" * 60_000}))
    then = http("then", service, "pay", input={"all": "${tasks.pay.output}"})

    txn = finished(begin(make_flow(each("pay", service), then), params={"items": ["a"]}))

    assert (txn.status, exceptions(txn.instance_id)) == ("failed", [("INVALID_INPUT", "open")])


def test_handling_the_exception_of_a_task_leaves_the_retry_of_an_item(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", REFUSED, Answer(seconds=0.5))
    flow = make_flow(http("pay", service, foreach="[1, 2, 3]", max_parallel=1), timeout=0.4)
    txn = finished(begin(flow))
    whole, item = ExceptionRecord.objects.filter(transaction=txn, item__lte=0).order_by("item")
    assert (whole.error_code, item.error_code) == ("FLOW_TIMEOUT", "NO_STOCK")
    operate.retry_exception(item.pk, actor="ada", delay_seconds=0.3)

    operate.handle_exception(whole.pk, actor="bob")

    wait_for(lambda: len(service.calls) >= 3)
    finished(txn.instance_id)
