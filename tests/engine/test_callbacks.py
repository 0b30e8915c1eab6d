"""A service that answers 202 goes on by itself, and calls back when it is done."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from dist_task.engine import operate
from dist_task.engine.store import batch
from dist_task.errors import ExecutionError, Gone, NotFound
from dist_task.executors.base import TaskCall
from dist_task.executors.callback import HEADER, RunName, headers_of, run_of, token_of
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.commands import rows
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Call, Service
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

ACCEPTED = Answer(status=202, body={"queued": True})


def offering(task_id: str, service: Service, *depends_on: str, within: float | None = None, **more: Any) -> Any:
    config = {"url": service.url(f"/{task_id}"), "callback": True}
    if within is not None:
        config["callback_within"] = within
    return http(task_id, service, *depends_on, **{"config": config, **more})


def token_in(call: Call) -> str:
    return call.headers[HEADER.lower()].rpartition("/")[2]


def named(call: Call) -> RunName:
    name = run_of(token_in(call))
    assert name is not None
    return name


def call_back(call: Call, *, result: str = "success", **answer: Any) -> None:
    operate.take_callback(named(call), result=result, answer=answer)


def waiting(instance_id: str) -> bool:
    return stored(instance_id).owner is None and statuses(instance_id).get("a") == "waiting"


def events(txn: Transaction, op: str = "action") -> list[str]:
    log = ExecutionLog.objects.filter(transaction=txn, task_id="a", op=op).order_by("id")
    return list(log.values_list("event", flat=True))


@pytest.fixture
def accepted(worker: WorkerThread, service: Service) -> str:
    """A transaction whose task waits for a callback, and nobody holds it."""
    service.answer("/a", ACCEPTED)
    told = http("b", service, "a", input={"ticket": "${tasks.a.output.ticket}"})
    instance_id = begin(make_flow(offering("a", service), told))
    wait_for(lambda: waiting(instance_id))
    return instance_id


def test_the_output_of_the_callback_is_that_of_the_task(accepted: str, service: Service) -> None:
    assert stored(accepted).wake_at is None

    call_back(service.calls[0], output={"ticket": "t1"})

    txn = finished(accepted)
    assert (txn.status, events(txn)) == ("success", ["waiting", "answered", "succeeded"])
    assert service.calls_of("/b")[0].body == {"ticket": "t1"}
    answered = ExecutionLog.objects.get(transaction=txn, event="answered")
    assert (answered.actor, answered.detail, answered.attempt) == ("callback", {"result": "success"}, 1)


def test_a_failure_is_permanent_with_its_code(accepted: str, service: Service) -> None:
    call_back(service.calls[0], result="failure", code="NO_FUNDS", message="too little")

    record = ExceptionRecord.objects.get(transaction=finished(accepted))
    assert (record.status, record.outcome) == ("open", "terminal")
    assert (record.error_code, record.error_message) == ("NO_FUNDS", "too little")


def test_the_first_of_two_counts(accepted: str, service: Service) -> None:
    call_back(service.calls[0], output={"ticket": "t1"})

    with pytest.raises(Gone):
        call_back(service.calls[0], result="failure")

    assert finished(accepted).status == "success"
    with pytest.raises(Gone):
        call_back(service.calls[0], output={"ticket": "t2"})


def test_a_callback_of_a_transaction_that_is_not_here_is_not_known(transactional_db: None) -> None:
    with pytest.raises(NotFound):
        operate.take_callback(RunName("gone", "a", "action", -1), result="success", answer={})


def test_nothing_is_offered_where_the_config_does_not_say_so(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", ACCEPTED)

    txn = finished(begin(make_flow(http("a", service))))

    assert (txn.status, HEADER.lower() in service.calls[0].headers) == ("success", False)


def test_who_answers_200_at_once_is_done(worker: WorkerThread, service: Service) -> None:
    txn = finished(begin(make_flow(offering("a", service))))

    assert (txn.status, events(txn)) == ("success", ["succeeded"])
    with pytest.raises(Gone):
        call_back(service.calls[0])


def test_the_address_is_shown_nowhere(worker: WorkerThread, service: Service) -> None:
    instance_id = f"echo_{id(service)}"
    token = token_of(RunName(instance_id, "a", "action", -1))
    service.answer("/a", Answer(body={"echo": f"see {token}"}, headers={"Location": f"/jobs/{token}"}))

    txn = finished(begin(make_flow(offering("a", service)), instance_id=instance_id))

    assert token_in(service.calls[0]) == token
    entry, run = ExecutionLog.objects.get(transaction=txn), TaskRun.objects.get(transaction=txn)
    assert token not in f"{entry.request} {entry.response} {run.output}"
    assert entry.request is not None and entry.request["headers"][HEADER] == "***"
    assert run.output is not None and run.output["body"] == {"echo": "see ***"}


def test_a_callback_that_comes_before_the_202_is_kept(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    service.answer("/a", ACCEPTED)
    instance_id = begin(make_flow(offering("a", service)))
    service.began["/a"].wait(30)
    name = RunName(instance_id, "a", "action", -1)

    operate.take_callback(name, result="success", answer={"output": 7})
    gate.set()

    txn = finished(instance_id)
    assert (txn.status, events(txn)) == ("success", ["answered", "waiting", "succeeded"])
    assert TaskRun.objects.get(transaction=txn).output == 7


@pytest.mark.parametrize("strategy", ["auto", "manual"])
@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(status=503), Answer(status=400), Answer(status=425)])
def test_it_counts_where_the_attempt_ends_without_a_success(
    worker: WorkerThread, service: Service, answer: Answer, strategy: str
) -> None:
    gate = service.hold("/a")
    service.answer("/a", answer)
    instance_id = begin(make_flow(offering("a", service, retry={"strategy": strategy, "interval": 60})))
    service.began["/a"].wait(30)

    operate.take_callback(RunName(instance_id, "a", "action", -1), result="success", answer={"output": 7})
    gate.set()

    txn = finished(instance_id)
    assert (txn.status, len(service.calls)) == ("success", 1)
    assert events(txn) == ["answered", "waiting", "succeeded"]
    assert TaskRun.objects.get(transaction=txn).output == 7
    assert not ExceptionRecord.objects.filter(transaction=txn).exists()


def test_a_failure_counts_as_well_and_nothing_is_tried_again(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    service.answer("/a", Answer(status=503))
    instance_id = begin(make_flow(offering("a", service, retry={"strategy": "auto", "interval": 0})))
    service.began["/a"].wait(30)

    answer = {"code": "NO_FUNDS", "message": "too little"}
    operate.take_callback(RunName(instance_id, "a", "action", -1), result="failure", answer=answer)
    gate.set()

    record = ExceptionRecord.objects.get(transaction=finished(instance_id))
    assert (record.error_code, record.occurrences, len(service.calls)) == ("NO_FUNDS", 1, 1)


def test_a_success_of_the_attempt_itself_counts_more(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    service.answer("/a", Answer(body={"direct": True}))
    instance_id = begin(make_flow(offering("a", service)))
    service.began["/a"].wait(30)

    operate.take_callback(RunName(instance_id, "a", "action", -1), result="failure", answer={})
    gate.set()

    run = TaskRun.objects.get(transaction=finished(instance_id))
    assert (run.status, run.output["body"], run.answer) == ("success", {"direct": True}, None)


def test_one_between_two_attempts_is_taken_up_by_the_next(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(drop=True), Answer(status=503))
    retry = {"strategy": "auto", "max_attempts": 3, "interval": 0.5}
    instance_id = begin(make_flow(offering("a", service, retry=retry)))
    wait_for(lambda: statuses(instance_id).get("a") == "pending")

    call_back(service.calls[0], output=7)

    txn = finished(instance_id)
    assert (txn.status, len(service.calls), TaskRun.objects.get(transaction=txn).output) == ("success", 2, 7)
    assert not ExceptionRecord.objects.unhandled().filter(transaction=txn).exists()
    assert token_in(service.calls[0]) == token_in(service.calls[1])


def test_one_while_the_service_is_asked_again_ends_the_asking(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(status=425))
    instance_id = begin(make_flow(offering("a", service, retry={"strategy": "no_retry", "interval": 3600})))
    wait_for(lambda: waiting(instance_id))

    call_back(service.calls[0])

    assert finished(instance_id).status == "success"
    assert len(service.calls) == 1


def test_where_nobody_calls_back_in_time_the_outcome_is_unknown(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", ACCEPTED)

    txn = finished(begin(make_flow(offering("a", service, within=0.2))))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome) == ("failed", "NO_ANSWER", "unknown")
    with pytest.raises(Gone):
        call_back(service.calls[0])


def test_a_heartbeat_moves_the_end_of_the_wait_on(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", ACCEPTED)
    instance_id = begin(make_flow(offering("a", service, within=3600)))
    wait_for(lambda: waiting(instance_id))
    before = TaskRun.objects.get(transaction__instance_id=instance_id).due_at
    assert before is not None

    call_back(service.calls[0], result="heartbeat")

    wait_for(lambda: waiting(instance_id))
    after = TaskRun.objects.get(transaction__instance_id=instance_id).due_at
    assert after is not None and after > before
    call_back(service.calls[0])
    txn = finished(instance_id)
    assert events(txn) == ["waiting", "answered", "answered", "succeeded"]


def test_a_heartbeat_of_what_has_ended_is_late(accepted: str, service: Service) -> None:
    operate.cancel_transaction(accepted, actor="ada", remark="why")
    finished(accepted)

    for result in ("heartbeat", "success"):
        with pytest.raises(Gone):
            call_back(service.calls[0], result=result)


def test_a_compensation_is_called_back_as_well(worker: WorkerThread, service: Service) -> None:
    service.answer("/undo", ACCEPTED)
    service.answer("/b", Answer(status=400))
    undo = {"config": {"url": service.url("/undo"), "callback": True}}
    flow = make_flow({**http("a", service), "compensate": undo}, http("b", service, "a"), on_failure="compensate")
    instance_id = begin(flow)
    wait_for(lambda: TaskRun.objects.filter(op="compensate", status="waiting").exists())

    call_back(service.calls_of("/undo")[0])

    txn = finished(instance_id)
    assert (txn.status, txn.compensation, events(txn, "compensate")) == (
        "failed",
        "done",
        ["waiting", "answered", "succeeded"],
    )


def test_the_address_is_that_of_the_service_and_the_run(accepted: str, service: Service) -> None:
    address = service.calls[0].headers[HEADER.lower()]

    assert re.fullmatch(r"http://127\.0\.0\.1:8080/api/v1/callbacks/[\w-]+\.[\w-]+", address)
    assert named(service.calls[0]) == RunName(accepted, "a", "action", -1)


def test_an_rpc_service_calls_back_over_the_api(worker: WorkerThread, service: Service) -> None:
    service.answer("/rpc", ACCEPTED)
    config = {"service": service.netloc, "method": "pay", "callback": True}
    instance_id = begin(make_flow({"id": "a", "type": "rpc", "config": config}))
    wait_for(lambda: waiting(instance_id))
    address = service.calls[0].headers[HEADER.lower()].removeprefix("http://127.0.0.1:8080")

    answers = [Client().post(address, {"result": "success", "output": 7}, "application/json") for _time in range(2)]

    assert [answer.status_code for answer in answers] == [200, 410]
    assert TaskRun.objects.get(transaction=finished(instance_id)).output == 7


def test_without_an_address_of_ours_nothing_is_called(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "PUBLIC_URL": ""}
    call = TaskCall("i1", "a", "action", -1, attempt=1, config={"callback": True}, input={}, timeout_seconds=1)

    with pytest.raises(ExecutionError) as caught:
        headers_of(call)

    assert (caught.value.code, caught.value.permanent, caught.value.unknown) == ("NO_PUBLIC_URL", False, False)


def test_a_decision_in_the_moment_in_which_its_time_runs_out_counts(transactional_db: None) -> None:
    """The worker did not know of it when it wrote that none came in time."""
    rows.wait_one("i1", flow=make_flow({"id": "pay", "type": "approval", "config": {"within": 60}}))
    operate.decide_approval("i1", "pay", approve=True, actor="ada", roles=None, remark="why")
    worker_id, held = rows.claim("i1")

    late = batch.Ended("pay", 1, "failed", "failed", error_code="NO_ANSWER", outcome="terminal", fingerprint="f")
    rows.record(batch.Write(held.transaction_id, held.revision, ended=[late]), worker_id=worker_id)

    run = TaskRun.objects.get(transaction__instance_id="i1")
    assert (run.status, run.waits_for, run.answer is not None) == ("waiting", "approval", True)
    assert not ExceptionRecord.objects.exists()


def test_a_worker_that_dies_takes_no_answer_along(transactional_db: None) -> None:
    task = {"id": "pay", "type": "http", "config": {"url": "http://payment/pay", "callback": True}}
    rows.start_one("i1", flow=make_flow(task))
    worker_id, held = rows.claim("i1")
    begun = batch.Begun("pay", attempt=1, budget=1, input={})
    rows.record(batch.Write(held.transaction_id, held.revision, begun=[begun]), worker_id=worker_id)
    operate.take_callback(RunName("i1", "pay", "action", -1), result="success", answer={"output": 7})

    lost = batch.Ended("pay", 1, "failed", "worker_lost", error_code="WORKER_LOST", outcome="unknown", fingerprint="f")
    rows.record(batch.Write(held.transaction_id, held.revision, ended=[lost]), worker_id=worker_id)

    run = TaskRun.objects.get(transaction__instance_id="i1")
    assert (run.status, run.waits_for, run.answer) == ("waiting", "callback", {"ok": True, "output": 7})
