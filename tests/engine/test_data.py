"""Data goes from task to task: templates in `input` and `config`, filled when an attempt begins."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.engine import operate
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, undoable
from .test_transactions_run import AUTO, http, statuses
from .worker import WorkerThread, wait_for


def test_what_a_task_gave_is_what_the_next_one_gets(worker: WorkerThread, service: Service) -> None:
    service.answer("/reserve", Answer(body={"hold_id": "h-1", "left": 3}))
    given = {
        "hold": "${tasks.reserve.output.hold_id}",
        "left": "${tasks.reserve.output.body.left}",
        "user": "${params.user.id}",
        "note": "order ${instance_id}, ${params.count} pieces",
    }
    flow = make_flow(http("reserve", service), http("pay", service, "reserve", input=given))

    finished(begin(flow, instance_id="order_7", params={"user": {"id": 5}, "count": 2}))

    assert service.calls[-1].body == {"hold": "h-1", "left": 3, "user": 5, "note": "order order_7, 2 pieces"}


def test_a_config_is_filled_for_each_call(worker: WorkerThread, service: Service) -> None:
    config = {"url": service.url("/users/${input.user}/orders?page=${params.page}"), "method": "GET"}
    task = {"id": "look", "type": "http", "config": config, "input": {"user": "${params.user}"}}

    txn = finished(begin(make_flow(task), params={"user": "a/b", "page": "1&x=2"}))

    assert txn.status == "success"
    assert service.calls[0].path == "/users/a%2Fb/orders?page=1%26x%3D2"


def test_what_cannot_be_filled_fails_for_good_and_says_where(worker: WorkerThread, service: Service) -> None:
    task = http("pay", service, input={"a": "${params.card.number}"}, retry=AUTO)

    txn = finished(begin(make_flow(task), params={"card": {}}))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, service.calls, record.occurrences) == ("failed", [], 1)
    assert record.error_code == "INVALID_INPUT"
    assert "params.card.number" in record.error_message


def test_params_are_data_and_never_read_as_templates(worker: WorkerThread, service: Service) -> None:
    flow = make_flow(http("pay", service, input={"a": "${params.a}"}))

    finished(begin(flow, params={"a": "${params.b} ${instance_id}", "b": "secret"}))

    assert service.calls[0].body == {"a": "${params.b} ${instance_id}"}


def test_an_attempt_that_is_made_again_gets_what_the_first_one_got(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(body={"n": 1}))
    service.answer("/b", Answer(503))
    flow = make_flow(http("a", service), http("b", service, "a", input={"n": "${tasks.a.output.n}"}, retry=AUTO))

    finished(begin(flow))

    assert [call.body for call in service.calls if call.path == "/b"] == [{"n": 1}, {"n": 1}]


@pytest.mark.parametrize("digits", [25, 400])
def test_a_long_number_stays_exact_on_its_way(worker: WorkerThread, service: Service, digits: int) -> None:
    service.answer("/a", Answer(raw=b'{"n": %s}' % (b"7" * digits)))
    flow = make_flow(http("a", service), http("b", service, "a", input={"n": "${tasks.a.output.n}"}))

    assert finished(begin(flow)).status == "success"

    assert service.calls[-1].body == {"n": int("7" * digits)}


def test_a_compensation_knows_an_input_that_a_later_attempt_was_the_first_to_get(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/a", Answer(400))
    b = undoable("b", service, "a", input={"x": "${tasks.a.output.x}"})
    txn = finished(begin(make_flow(http("a", service, optional=True), b)))
    assert txn.status == "failed"
    service.answer("/a", Answer(body={"x": 42}))
    record = ExceptionRecord.objects.get(transaction=txn, task_id="a")
    operate.retry_exception(record.pk, actor="ada", delay_seconds=0)
    wait_for(lambda: statuses(txn.instance_id)["a"] == "success")
    operate.retry_transaction(finished(txn.instance_id).instance_id, actor="ada")
    wait_for(lambda: stored(txn.instance_id).status == "success")

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    compensated(txn.instance_id)
    assert service.calls[-1].path == "/undo-b"
    assert service.calls[-1].body["x"] == 42


def test_another_worker_reads_what_was_given_before_its_time(worker: WorkerThread, service: Service) -> None:
    """A retry by a person is claimed anew: what task a gave is in no worker's memory then."""
    service.answer("/a", Answer(body={"n": 1}))
    service.answer("/b", Answer(400))
    config = {"url": service.url("/b/${tasks.a.output.n}")}
    flow = make_flow(http("a", service), {**http("b", service, "a"), "config": config})
    service.answer("/b/1", Answer(400))
    instance_id = begin(flow)
    assert finished(instance_id).status == "failed"

    operate.retry_transaction(instance_id, actor="ada")
    wait_for(lambda: stored(instance_id).status == "success")

    assert [call.path for call in service.calls] == ["/a", "/b/1", "/b/1"]


def test_a_join_sees_all_that_it_depends_on_and_the_alias_of_an_output(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(body={"n": 1}))
    service.answer("/b", Answer(body=[{"n": 2}]))
    taken = {"a": "$.first.n", "b": "$.b.body[0].n", "p": "$.params.x"}
    flow = make_flow(
        http("a", service, output="first"), http("b", service), http("c", service, "a", "b", input_from=taken)
    )

    finished(begin(flow, params={"x": True}))

    assert service.calls[-1].body == {"a": 1, "b": 2, "p": True}


def test_a_compensation_says_what_it_takes_of_what_was_given_and_came(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", Answer(body={"payment": 9}))
    undo = {
        "config": {"url": service.url("/payments/${output.payment}"), "method": "PUT"},
        "input": {"back": "${input.amount}", "why": "order ${instance_id}"},
    }
    txn = finished(begin(make_flow(http("pay", service, compensate=undo)), params={"pay": {"amount": 5}}))

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    assert compensated(txn.instance_id) == "done"
    call = service.calls[-1]
    assert (call.method, call.path) == ("PUT", "/payments/9")
    assert call.body == {"back": 5, "why": f"order {txn.instance_id}"}
    assert TaskRun.objects.get(transaction=txn, op="compensate").input == call.body


def test_an_author_names_secrets_in_input_and_config(
    worker: WorkerThread, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_PIN", "pin-4711")
    config = {"url": service.url("/pay"), "headers": {"X-Pin": "${secrets.PIN}/${params.user}"}}
    undo = {"config": {"url": service.url("/undo")}}
    task = {"id": "pay", "type": "http", "config": config, "input": {"pin": "${secrets.PIN}"}, "compensate": undo}

    txn = finished(begin(make_flow(task), params={"user": "ada"}))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    assert (txn.status, compensated(txn.instance_id)) == ("success", "done")
    paid, undone = service.calls
    assert (paid.headers["x-pin"], paid.body, undone.body["pin"]) == ("pin-4711/ada", {"pin": "pin-4711"}, "pin-4711")
    assert TaskRun.objects.get(transaction=txn, op="action").input == {"pin": "${secrets.PIN}"}


@pytest.mark.parametrize("value", ["${secrets.PIN}", {"a": ["${secrets.PIN}"]}])
def test_the_data_of_a_transaction_names_none(
    worker: WorkerThread, service: Service, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_PIN", "pin-4711")
    config = {"url": service.url("/pay"), "headers": {"X-Note": "${params.note}"}}
    inner = http("inner", service, input={"note": "${params.note}"})

    txn = finished(begin(make_flow({"id": "pay", "type": "http", "config": config}, inner), params={"note": value}))

    assert statuses(txn.instance_id) == {"pay": "failed", "inner": "success"}
    assert [call.body for call in service.calls] == [{"note": value}], "in a body it is what it is: text"


@pytest.mark.parametrize(
    ("config", "value", "status"),
    [
        ({"headers": {"X-Count": "${params.v}"}}, 3, "success"),
        ({"headers": {"X-Count": "${params.v}"}}, {"a": 1}, "success"),
        ({"headers": {"X-Count": "${params.v}"}}, "a\r\nX-Evil: 1", "failed"),
        ({"query": {"q": "${params.v}"}}, 3, "success"),
        ({"query": {"q": "${params.v}"}}, ["a"], "failed"),
    ],
)
def test_a_filled_config_is_checked_like_a_written_one(
    worker: WorkerThread, service: Service, config: dict[str, Any], value: object, status: str
) -> None:
    task = {"id": "a", "type": "http", "config": {"url": service.url("/a"), **config}}

    txn = finished(begin(make_flow(task), params={"v": value}))

    assert (txn.status, len(service.calls)) == (status, int(status == "success"))


def test_a_retried_task_gets_what_an_optional_one_before_it_gives_now(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(400), Answer(body={"x": 42}, seconds=0.2))
    b = http("b", service, "a", input={"x": "${tasks.a.output.body.x}"}, optional=True)
    c = http("c", service, "b")
    service.answer("/c", Answer(400))
    txn = finished(begin(make_flow(http("a", service, optional=True), b, c)))

    operate.retry_transaction(txn.instance_id, actor="ada")

    assert finished(txn.instance_id).status == "success"
    assert [call.body for call in service.calls_of("/b")] == [{"x": 42}]
