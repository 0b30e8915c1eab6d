"""Transactions run through a real worker against a real service."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from dist_task.engine.outcome import TERMINAL, UNKNOWN
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import TaskDefinition

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .worker import WorkerThread, wait_for

AUTO = {"strategy": "auto", "max_attempts": 2, "interval": 0}


def http(task_id: str, service: Service, *depends_on: str, **more: object) -> dict[str, object]:
    config = {"url": service.url(f"/{task_id}")}
    return {"id": task_id, "type": "http", "config": config, "depends_on": list(depends_on), **more}


def statuses(instance_id: str) -> dict[str, str]:
    return dict(TaskRun.objects.filter(transaction__instance_id=instance_id).values_list("task_id", "status"))


def test_a_flow_without_tasks_succeeds(worker: WorkerThread) -> None:
    assert finished(begin(make_flow())).status == "success"


def test_tasks_run_in_order_with_their_parameters(worker: WorkerThread, service: Service) -> None:
    flow = make_flow(http("pay", service), http("ship", service, "pay"))

    txn = finished(begin(flow, params={"pay": {"amount": 100}, "ship": {"to": "北京"}}))

    assert txn.status == "success"
    assert [(call.path, call.body) for call in service.calls] == [
        ("/pay", {"amount": 100}),
        ("/ship", {"to": "北京"}),
    ]
    assert txn.created_at <= txn.started_at <= txn.completed_at
    assert txn.owner is None and txn.wake_at is None


def test_independent_branches_run_side_by_side_and_the_join_waits(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/b")
    flow = make_flow(http("a", service), http("b", service, "a"), http("c", service, "a"), http("d", service, "b", "c"))

    instance_id = begin(flow)
    wait_for(lambda: statuses(instance_id).get("c") == "success")

    assert statuses(instance_id) == {"a": "success", "b": "running", "c": "success"}
    gate.set()
    assert finished(instance_id).status == "success"
    assert service.calls[-1].path == "/d"


def test_an_attempt_is_durable_before_its_call(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    instance_id = begin(make_flow(http("a", service)))
    service.began["/a"].wait(30)

    run = TaskRun.objects.get(transaction__instance_id=instance_id)
    gate.set()

    assert (run.status, run.attempt) == ("running", 1)
    assert finished(instance_id).status == "success"


def test_what_fails_is_retried_and_its_exception_closes_itself(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503), Answer(500))

    txn = finished(begin(make_flow(http("a", service, retry=AUTO))))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert txn.status == "success"
    assert (record.status, record.handled_by, record.occurrences) == ("handled", "system", 2)
    assert len({call.headers["idempotency-key"] for call in service.calls}) == 1
    assert [call.headers["x-dist-task-attempt"] for call in service.calls] == ["1", "2", "3"]
    assert list(ExecutionLog.objects.filter(transaction=txn).values_list("attempt", "event")) == [
        (1, "failed"),
        (2, "failed"),
        (3, "succeeded"),
    ]


def test_when_retries_are_used_up_a_person_is_needed(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", *itertools.repeat(Answer(503), 3))

    txn = finished(begin(make_flow(http("a", service, retry=AUTO), http("b", service, "a"))))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert txn.status == "failed"
    assert (record.status, record.occurrences, record.error_code) == ("open", 3, "HTTP_503")
    assert record.retry_next_at is None
    assert statuses(txn.instance_id) == {"a": "failed"}, "what depends on it never starts"


def test_a_failed_branch_lets_its_sibling_end(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/b")
    service.answer("/a", Answer(400, body={"code": "NO_FUNDS", "message": "not enough"}))
    instance_id = begin(make_flow(http("a", service), http("b", service)))
    wait_for(lambda: statuses(instance_id).get("a") == "failed")

    assert stored(instance_id).status == "running"
    gate.set()

    assert finished(instance_id).status == "failed"
    assert statuses(instance_id) == {"a": "failed", "b": "success"}
    record = ExceptionRecord.objects.get()
    assert (record.error_code, record.outcome) == ("NO_FUNDS", TERMINAL)
    assert "not enough" in record.error_message


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(502), Answer(504), Answer(seconds=1.0)])
def test_an_answer_that_never_came_is_unknown_and_not_repeated_by_itself(
    worker: WorkerThread, service: Service, answer: Answer
) -> None:
    service.answer("/a", answer)

    txn = finished(begin(make_flow(http("a", service, timeout=0.3))))

    run, record = TaskRun.objects.get(transaction=txn), ExceptionRecord.objects.get(transaction=txn)
    assert txn.status == "failed"
    assert (run.status, run.attempt, run.maybe_executed) == ("failed", 1, True)
    assert (record.status, record.outcome) == ("open", UNKNOWN)
    assert len(service.began) == 1


def test_strategy_auto_repeats_an_unknown_outcome_with_the_same_key(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(drop=True))

    txn = finished(begin(make_flow(http("a", service, retry=AUTO))))

    run = TaskRun.objects.get(transaction=txn)
    assert (txn.status, run.attempt, run.maybe_executed) == ("success", 2, True)
    assert len({call.headers["idempotency-key"] for call in service.calls}) == 1


@pytest.mark.parametrize("held_by_another_branch", [False, True])
def test_a_retry_is_never_early(worker: WorkerThread, service: Service, held_by_another_branch: bool) -> None:
    """Its start mark is written a little before it falls due, so that its call comes at the moment itself."""
    service.answer("/a", *[Answer(503)] * 3)
    service.answer("/b", Answer(seconds=1.0))
    tasks = [http("a", service, retry={"strategy": "auto", "max_attempts": 3, "interval": 0.15})]
    if held_by_another_branch:
        tasks.append(http("b", service))

    finished(begin(make_flow(*tasks)))

    calls = [call for call in service.calls if call.path == "/a"]
    pauses = [later.began_at - earlier.ended_at for earlier, later in itertools.pairwise(calls)]
    assert len(pauses) == 3 and min(pauses) >= 0.15


def test_a_failed_optional_task_is_an_exception_and_the_flow_goes_on(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(400))

    txn = finished(begin(make_flow(http("a", service, optional=True), http("b", service, "a"))))

    assert txn.status == "success"
    assert statuses(txn.instance_id) == {"a": "failed", "b": "success"}
    assert ExceptionRecord.objects.get(transaction=txn).status == "open"


def test_wrong_parameters_are_a_permanent_failure_without_a_call(worker: WorkerThread) -> None:
    inputs = [{"name": "amount", "type": "int", "required": True}]
    TaskDefinition.objects.create(name="count", type="noop", inputs=inputs)
    flow = make_flow({"id": "deduct", "task_name": "count", "retry": AUTO})

    txn = finished(begin(flow, params={"deduct": {"amount": "many"}}))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert txn.status == "failed"
    assert (record.error_code, record.occurrences) == ("INVALID_INPUT", 1)
    assert "params.deduct.amount" in record.error_message


def test_a_service_that_cannot_be_reached_was_surely_not_called(worker: WorkerThread) -> None:
    task = {"id": "a", "type": "http", "config": {"url": "http://127.0.0.1:9/"}}

    txn = finished(begin(make_flow(task)))

    run = TaskRun.objects.get(transaction=txn)
    assert (run.status, run.error_code, run.maybe_executed) == ("failed", "CONNECTION_REFUSED", False)


def test_rpc_sends_method_and_params_and_takes_the_result(worker: WorkerThread, service: Service) -> None:
    service.answer("/rpc", Answer(body={"result": {"ok": True}}))
    task = {"id": "a", "type": "rpc", "config": {"service": service.netloc, "method": "payment.deduct"}}

    txn = finished(begin(make_flow(task), params={"a": {"amount": 5}}))

    assert txn.status == "success"
    assert service.calls[0].body == {"method": "payment.deduct", "params": {"amount": 5}}
    assert TaskRun.objects.get(transaction=txn).output == {"ok": True}


def test_an_rpc_error_member_is_a_failure(worker: WorkerThread, service: Service) -> None:
    service.answer("/rpc", Answer(body={"error": {"code": "LOCKED", "message": "try later"}}))
    task = {"id": "a", "type": "rpc", "config": {"service": service.netloc, "method": "m"}}

    txn = finished(begin(make_flow(task)))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (record.error_code, record.error_message) == ("LOCKED", "RPC call failed: try later")


@pytest.mark.parametrize(
    "raw",
    [
        b'{"text": "a\\u0000b\\ud800"}',
        b'{"huge": 1e400}',
        b'{"digits": ' + b"9" * 5000 + b"}",
        b"[" * 2000 + b"]" * 2000,
        b"\xff\xfe not json",
    ],
)
def test_any_answer_can_be_stored_and_is_not_asked_for_again(
    worker: WorkerThread, service: Service, raw: bytes
) -> None:
    service.answer("/a", Answer(raw=raw))

    txn = finished(begin(make_flow(http("a", service, retry=AUTO))))

    assert txn.status == "success"
    assert len(service.calls) == 1
    assert TaskRun.objects.get(transaction=txn).output["status"] == 200


def test_secrets_of_a_request_are_masked_in_the_log(worker: WorkerThread, service: Service) -> None:
    task = http("a", service)
    task["config"] = {"url": service.url("/a"), "headers": {"Authorization": "Bearer canary-1234"}}

    txn = finished(begin(make_flow(task), params={"a": {"password": "canary-5678"}}))

    log = ExecutionLog.objects.get(transaction=txn)
    assert "canary" not in f"{log.request} {log.response}"
    assert service.calls[0].headers["authorization"] == "Bearer canary-1234"


def test_many_transactions_share_workers_without_losing_or_repeating(
    start_worker: Callable[[], WorkerThread], service: Service
) -> None:
    start_worker()
    start_worker()
    flow = make_flow(http("a", service), http("b", service, "a"), http("c", service, "b"))

    ids = [begin(flow) for _ in range(60)]

    assert {finished(instance_id).status for instance_id in ids} == {"success"}
    assert len(service.calls) == 180
    assert len({call.headers["idempotency-key"] for call in service.calls}) == 180
