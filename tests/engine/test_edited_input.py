"""A task is tried again at a time, or with another input: the log keeps what it had, its key stays the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from dist_task.engine import operate
from dist_task.errors import IllegalMove, InvalidRequest
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import TaskDefinition
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, undoable
from .test_foreach import each
from .test_subflow import sub
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

REFUSED = Answer(400)
FIELDS = [
    {"name": "user_id", "type": "string", "required": True},
    {"name": "amount", "type": "int", "required": True},
]


def retry(txn: Transaction, **how: Any) -> ExceptionRecord:
    record = ExceptionRecord.objects.unhandled().get(transaction=txn)
    return operate.retry_exception(record.pk, actor="ann", **({"delay_seconds": 0} | how))


@pytest.fixture
def failed(worker: WorkerThread, service: Service) -> Transaction:
    service.answer("/a", REFUSED)
    return finished(begin(make_flow(http("a", service)), params={"to": "nobody", "password": "pw-1"}))


def test_the_next_attempt_gets_what_the_operator_gives_under_the_same_key(
    failed: Transaction, service: Service
) -> None:
    retry(failed, input={"to": "ada", "password": "pw-2"}, remark="wrong name")

    assert finished(failed.instance_id).status == "success"
    first, second = service.calls_of("/a")
    assert (first.body["to"], second.body["to"]) == ("nobody", "ada")
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_before_and_after_are_in_the_log_masked(failed: Transaction) -> None:
    retry(failed, input={"to": "ada", "password": "pw-2"}, remark="wrong name")

    log = ExecutionLog.objects.get(transaction=failed, event="retried")
    assert (log.actor, log.message) == ("ann", "wrong name")
    assert log.detail["before"]["input"]["to"] == "nobody"
    assert log.detail["after"]["input"]["to"] == "ada"
    assert "pw-" not in str(log.detail)


def test_a_retry_that_is_awaited_gets_it_too(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503))
    slow = {"strategy": "auto", "max_attempts": 3, "interval": 3600}
    instance_id = begin(make_flow(http("a", service, retry=slow)), params={"to": "nobody"})
    wait_for(lambda: statuses(instance_id) == {"a": "pending"})

    retry(stored(instance_id), input={"to": "ada"})

    assert finished(instance_id).status == "success"
    assert service.calls_of("/a")[1].body == {"to": "ada"}


def test_it_is_data_and_no_template(failed: Transaction, service: Service) -> None:
    text = {"to": "${secrets.BANK} ${params.to}"}

    retry(failed, input=text)

    finished(failed.instance_id)
    assert service.calls_of("/a")[1].body == text


def test_it_is_checked_by_the_fields_of_the_registry_entry(worker: WorkerThread, service: Service) -> None:
    TaskDefinition.objects.create(name="debit", type="http", inputs=FIELDS)
    txn = finished(begin(make_flow(http("a", service, task_name="debit")), params={"user_id": "u1"}))
    assert (txn.status, service.calls) == ("failed", []), "amount is missing"

    for value, place in (({"user_id": "u1"}, "input.amount"), ({"user_id": "u1", "amount": "x"}, "input.amount")):
        with pytest.raises(InvalidRequest, match=place):
            retry(txn, input=value)
    retry(txn, input={"user_id": "u1", "amount": "5"})

    assert finished(txn.instance_id).status == "success"
    assert service.calls_of("/a")[0].body == {"user_id": "u1", "amount": 5}


def test_an_item_gets_its_own_and_the_whole_of_them_none(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", REFUSED)
    flow = make_flow(http("pay", service, foreach="params.items", max_parallel=1))
    txn = finished(begin(flow, params={"items": ["a", "b"]}))

    retry(txn, input={"item": "z", "index": 0})

    assert finished(txn.instance_id).status == "success"
    assert [call.body["item"] for call in service.calls] == ["a", "b", "z"]


def test_the_whole_of_a_task_with_items_has_no_input_to_be_edited(worker: WorkerThread, service: Service) -> None:
    txn = finished(begin(make_flow(each("pay", service, foreach="$error('no')"))))

    with pytest.raises(IllegalMove, match="has items"):
        retry(txn, input={"items": []})


def test_what_may_have_been_executed_keeps_its_input_but_for_force(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(drop=True))
    txn = finished(begin(make_flow(http("a", service)), params={"to": "nobody"}))

    with pytest.raises(IllegalMove, match="may have been executed.*force"):
        retry(txn, input={"to": "ada"})
    assert TaskRun.objects.get(transaction=txn).input == {"to": "nobody"}
    retry(txn, input={"to": "ada"}, force=True)

    assert finished(txn.instance_id).status == "success"


def test_what_has_started_a_transaction_keeps_its_params(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", REFUSED)
    txn = finished(begin(make_flow(sub("below", make_flow(http("a", service))))))

    with pytest.raises(IllegalMove, match="keeps its params"):
        retry(txn, input={"to": "ada"}, force=True)


def test_forward_work_keeps_its_input_once_undoing_has_begun_and_undoing_may_get_another(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/b", REFUSED)
    service.answer("/undo-a", REFUSED)
    undo = {"config": {"url": service.url("/undo-a")}, "retry": {"strategy": "manual"}}
    txn = finished(begin(make_flow(undoable("a", service, compensate=undo), http("b", service, "a"))))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    assert compensated(txn.instance_id) == "failed"

    forward, undoing = ExceptionRecord.objects.filter(transaction=txn).order_by("pk")
    with pytest.raises(IllegalMove, match="has begun"):
        operate.retry_exception(forward.pk, actor="ann", input={})
    operate.retry_exception(undoing.pk, actor="ann", delay_seconds=0, input={"refund": 5})

    wait_for(lambda: stored(txn.instance_id).compensation == "done")
    assert service.calls_of("/undo-a")[1].body == {"refund": 5}


@pytest.mark.parametrize("value", [[], "x", {"a": "\0"}, {"a": 2**64}, {"a": "x" * 1_048_576}])
def test_what_is_no_object_or_cannot_be_stored_is_refused(failed: Transaction, value: Any) -> None:
    with pytest.raises(InvalidRequest, match="input"):
        retry(failed, input=value)

    assert TaskRun.objects.get(transaction=failed).input["to"] == "nobody"
    assert ExceptionRecord.objects.get(transaction=failed).status == "open"


def test_a_retry_begins_at_the_time_that_was_said(failed: Transaction) -> None:
    at = timezone.now() + timedelta(hours=3)

    record = retry(failed, at=at, delay_seconds=None)

    assert record.retry_next_at == TaskRun.objects.get(transaction=failed).due_at == at
    assert stored(failed.instance_id).wake_at == at


@pytest.mark.parametrize(
    "how",
    [
        {"at": timezone.now() - timedelta(days=1), "delay_seconds": None},
        {"at": timezone.now() + timedelta(days=31), "delay_seconds": None},
        {"at": datetime(2100, 1, 1), "delay_seconds": None},  # without a time zone
        {"at": timezone.now() + timedelta(hours=1), "delay_seconds": 5},
    ],
)
def test_another_time_is_refused(failed: Transaction, how: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="at must be a time|either delay or at"):
        retry(failed, **how)
    assert ExceptionRecord.objects.get(transaction=failed).status == "open"
