"""A service that answers that it is at it is asked again, in the same attempt, but not for ever."""

from __future__ import annotations

from dist_task.engine import operate
from dist_task.invariants.check import verify
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

AT_IT = Answer(status=425, body={"at": "it"})


def events(txn: Transaction) -> list[str]:
    return list(
        ExecutionLog.objects.filter(transaction=txn, task_id="a").order_by("id").values_list("event", flat=True)
    )


def test_it_is_asked_again_in_the_same_attempt(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", AT_IT, AT_IT, Answer(body={"done": True}))

    txn = finished(begin(make_flow(http("a", service, retry={"strategy": "no_retry", "interval": 0.1}))))

    first, second, third = service.calls
    assert (txn.status, events(txn)) == ("success", ["waiting", "waiting", "succeeded"])
    assert {call.headers["x-dist-task-attempt"] for call in service.calls} == {"1"}
    assert len({call.headers["idempotency-key"] for call in service.calls}) == 1
    assert second.began_at - first.began_at >= 0.1 and third.began_at - second.began_at >= 0.1
    log = ExecutionLog.objects.filter(transaction=txn, task_id="a").order_by("id")
    assert (log[0].response["status"], log[0].response["body"]) == (425, {"at": "it"})
    assert len({entry.started_at for entry in log}) == 1


def test_the_service_says_when_to_ask_again(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(status=425, headers={"Retry-After": "1"}))

    finished(begin(make_flow(http("a", service, retry={"strategy": "no_retry", "interval": 0}))))

    first, second = service.calls
    assert second.began_at - first.began_at >= 1


def test_one_that_is_at_it_for_ever_leaves_the_outcome_unknown(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", *[AT_IT] * 100)
    task = http("a", service, retry={"strategy": "auto", "max_attempts": 3, "interval": 0.1})
    task["config"]["ongoing_within"] = 0.35

    txn = finished(begin(make_flow(task)))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome, record.status) == ("failed", "NO_ANSWER", "unknown", "open")
    assert events(txn)[:2] == ["waiting", "waiting"] and events(txn)[-1] == "unknown"
    assert 2 <= len(service.calls) < 100
    assert TaskRun.objects.get(transaction=txn).maybe_executed


def test_a_failure_between_two_answers_begins_another_attempt(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", AT_IT, Answer(status=503), AT_IT, Answer())
    retry = {"strategy": "auto", "max_attempts": 1, "interval": 0.1}

    txn = finished(begin(make_flow(http("a", service, retry=retry))))

    assert (txn.status, events(txn)) == ("success", ["waiting", "failed", "waiting", "succeeded"])
    assert [call.headers["x-dist-task-attempt"] for call in service.calls] == ["1", "1", "2", "2"]


def test_a_compensation_is_asked_again_as_well(worker: WorkerThread, service: Service) -> None:
    service.answer("/undo", AT_IT, Answer())
    undo = {"config": {"url": service.url("/undo")}, "retry": {"strategy": "no_retry", "interval": 0.1}}
    service.answer("/b", Answer(status=400))
    flow = make_flow({**http("a", service), "compensate": undo}, http("b", service, "a"), on_failure="compensate")

    txn = finished(begin(flow))

    assert (txn.status, txn.compensation, len(service.calls_of("/undo"))) == ("failed", "done", 2)


def test_what_a_service_calls_a_success_is_the_authors_to_say(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(body={"state": "refused", "why": "NO_FUNDS"}))
    task = http("a", service, retry={"strategy": "auto", "max_attempts": 3, "interval": 0.1})
    task["config"] |= {"ok_when": "body.state = 'done'", "error_code": "body.why"}

    txn = finished(begin(make_flow(task)))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome, len(service.calls)) == ("failed", "NO_FUNDS", "terminal", 1)


def test_the_data_of_an_envelope_are_reached_by_other_tasks(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(body={"code": 0, "message": "success", "data": {"hold": "h1"}}))
    first = http("a", service)
    first["config"]["result_protocol"] = "envelope"
    second = http("b", service, "a", input={"hold": "${tasks.a.output.hold}"})

    finished(begin(make_flow(first, second)))

    assert service.calls_of("/b")[0].body == {"hold": "h1"}


def test_handling_its_exception_stops_the_retries_of_one_that_is_at_it(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503), Answer(425, headers={"Retry-After": "1"}), *[Answer(503)] * 5)
    retry = {"strategy": "auto", "max_attempts": 6, "interval": 0.1}
    instance_id = begin(make_flow(http("a", service, retry=retry)))
    wait_for(lambda: statuses(instance_id).get("a") == "waiting")
    assert verify(never_pruned=True).violations == []

    operate.handle_exception(ExceptionRecord.objects.get(task_id="a").pk, actor="ada")

    assert finished(instance_id).status == "failed"
    assert len(service.calls) == 3
