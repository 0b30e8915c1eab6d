"""Operators skip a failed task, or say that it was done; the flow goes on with what they say that it gave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections

from dist_task.engine import operate, rescue
from dist_task.engine.store import leases
from dist_task.engine.store.batch import Begun, Ended, Write, Written
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.recording import claim, record
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, paths, undoable
from .test_foreach import each, runs
from .test_subflow import sub
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

REFUSED = Answer(400, body={"code": "NO_STOCK"})
LOST = Answer(drop=True)
HOLD = {"hold_id": 7}
WHY = {"actor": "ann", "remark": "the bank says so"}
CALLBACK = {"callback": True, "callback_within": 3600}
Verb = Callable[..., ExceptionRecord]
VERBS = pytest.mark.parametrize("verb", [operate.skip_run, operate.complete_run])


def record_of(txn: Transaction, **of: Any) -> ExceptionRecord:
    return ExceptionRecord.objects.get(transaction=txn, **of)


def then(service: Service, *depends_on: str) -> dict[str, Any]:
    """A task that looks at what `a` gave."""
    return http("then", service, *depends_on, input={"hold": "${tasks.a.output.hold_id}"})


@pytest.fixture
def failed(worker: WorkerThread, service: Service) -> Transaction:
    service.answer("/a", REFUSED)
    return finished(begin(make_flow(undoable("a", service), then(service, "a"))))


@pytest.fixture
def in_doubt(worker: WorkerThread, service: Service) -> Transaction:
    """Its first task may have been executed."""
    service.answer("/a", LOST)
    return finished(begin(make_flow(undoable("a", service), then(service, "a"))))


@pytest.mark.parametrize(
    ("verb", "status", "resolution", "event"),
    [
        (operate.skip_run, "skipped", "skipped", "skipped"),
        (operate.complete_run, "success", "fixed_externally", "completed"),
    ],
)
def test_the_flow_goes_on_with_what_the_operator_says(
    failed: Transaction, service: Service, verb: Verb, status: str, resolution: str, event: str
) -> None:
    record = verb(record_of(failed).pk, output=HOLD, **WHY)

    assert (record.status, record.resolution, record.handled_by, record.remark) == (
        "handled",
        resolution,
        "ann",
        "the bank says so",
    )
    assert finished(failed.instance_id).status == "success"
    assert statuses(failed.instance_id) == {"a": status, "then": "success"}
    assert service.calls_of("/then")[0].body == {"hold": 7}
    assert len(service.calls_of("/a")) == 1
    log = ExecutionLog.objects.get(transaction=failed, event=event)
    assert (log.actor, log.message, log.task_id, log.attempt) == ("ann", "the bank says so", "a", 1)
    assert log.detail["before"] == {"status": "failed", "exception": "open", "answer": None}
    assert log.detail["after"] == {"status": status, "exception": "handled", "output": HOLD}


@pytest.mark.parametrize(("verb", "undone"), [(operate.skip_run, []), (operate.complete_run, ["/undo-a"])])
def test_what_was_completed_is_undone_and_what_was_skipped_is_not(
    failed: Transaction, service: Service, verb: Verb, undone: list[str]
) -> None:
    verb(record_of(failed).pk, output=HOLD, **WHY)
    finished(failed.instance_id)

    operate.compensate_transaction(failed.instance_id, actor="ada", remark="why")

    assert compensated(failed.instance_id) == "done"
    assert [path for path in paths(service) if path.startswith("/undo")] == undone


def test_what_may_have_been_executed_is_skipped_by_force_and_undone_all_the_same(
    in_doubt: Transaction, service: Service
) -> None:
    record = record_of(in_doubt)
    with pytest.raises(IllegalMove, match="may have been executed.*force"):
        operate.skip_run(record.pk, output=HOLD, **WHY)
    assert statuses(in_doubt.instance_id) == {"a": "failed"}

    operate.skip_run(record.pk, output=HOLD, force=True, **WHY)
    finished(in_doubt.instance_id)
    operate.compensate_transaction(in_doubt.instance_id, actor="ada", remark="why")

    assert compensated(in_doubt.instance_id) == "done"
    assert len(service.calls_of("/undo-a")) == 1


def test_what_may_have_been_executed_is_completed_without_force(in_doubt: Transaction) -> None:
    operate.complete_run(record_of(in_doubt).pk, output=HOLD, **WHY)

    assert finished(in_doubt.instance_id).status == "success"


@VERBS
def test_a_retry_that_is_awaited_is_given_up_for_it(worker: WorkerThread, service: Service, verb: Verb) -> None:
    service.answer("/a", Answer(503))
    slow = {"strategy": "auto", "max_attempts": 3, "interval": 3600}
    gate = service.hold("/b")
    instance_id = begin(make_flow(http("a", service, retry=slow), http("b", service), then(service, "a")))
    wait_for(lambda: statuses(instance_id).get("a") == "pending")  # and a worker holds it

    verb(record_of(stored(instance_id)).pk, output=HOLD, **WHY)

    wait_for(lambda: service.calls_of("/then"))
    gate.set()
    assert finished(instance_id).status == "success"
    assert len(service.calls_of("/a")) == 1


@VERBS
def test_an_item_is_settled_alone_and_its_task_goes_on_with_the_last_one(
    worker: WorkerThread, service: Service, verb: Verb
) -> None:
    service.answer("/pay/a", REFUSED)
    service.answer("/pay/c", REFUSED)
    after = http("then", service, "pay", input={"all": "${tasks.pay.output}"})
    txn = finished(begin(make_flow(each("pay", service), after), params={"items": ["a", "b", "c"]}))

    verb(record_of(txn, item=0).pk, output={"by": "hand"}, **WHY)
    assert (stored(txn.instance_id).status, runs(txn.instance_id)[-1]) == ("failed", "failed")
    verb(record_of(txn, item=2).pk, **WHY)

    assert finished(txn.instance_id).status == "success"
    first, second, third = service.calls_of("/then")[0].body["all"]
    assert (first, second["status"], third) == ({"by": "hand"}, 200, None)
    assert len(service.calls) == 4


def test_items_that_were_completed_are_undone(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay/a", REFUSED)
    service.answer("/pay/b", REFUSED)
    undo = {"config": {"url": service.url("/back/${item}/${output.id}")}}
    txn = finished(begin(make_flow(each("pay", service, compensate=undo)), params={"items": ["a", "b"]}))
    operate.complete_run(record_of(txn, item=0).pk, output={"id": 71}, **WHY)
    operate.skip_run(record_of(txn, item=1).pk, **WHY)
    finished(txn.instance_id)

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    assert compensated(txn.instance_id) == "done"
    assert paths(service)[2:] == ["/back/a/71"]


def test_a_task_whose_list_cannot_be_made_is_skipped_with_a_list(worker: WorkerThread, service: Service) -> None:
    pay = http("pay", service, foreach="$error('no')")
    after = http("then", service, "pay", input={"all": "${tasks.pay.output}"})
    txn = finished(begin(make_flow(pay, after)))

    with pytest.raises(InvalidRequest, match="must be a list"):
        operate.skip_run(record_of(txn).pk, output={"n": 1}, **WHY)
    with pytest.raises(IllegalMove, match="has items"):
        operate.complete_run(record_of(txn).pk, output=[1], **WHY)
    operate.skip_run(record_of(txn).pk, output=[{"n": 1}], **WHY)

    assert finished(txn.instance_id).status == "success"
    assert service.calls_of("/then")[0].body == {"all": [{"n": 1}]}


@VERBS
def test_undoing_goes_on_after_a_compensation_that_was_repaired_elsewhere(
    worker: WorkerThread, service: Service, verb: Verb
) -> None:
    once = {"retry": {"strategy": "manual"}}
    undo_b = {"config": {"url": service.url("/undo-b")}, **once}
    service.answer("/undo-b", REFUSED)
    tasks = undoable("a", service), http("b", service, "a", compensate=undo_b)
    txn = finished(begin(make_flow(*tasks)))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    assert compensated(txn.instance_id) == "failed"

    verb(record_of(txn).pk, **WHY)

    wait_for(lambda: stored(txn.instance_id).compensation == "done")
    assert paths(service)[2:] == ["/undo-b", "/undo-a"]


@VERBS
def test_a_compensation_of_an_item_is_settled_alone(worker: WorkerThread, service: Service, verb: Verb) -> None:
    undo = {"config": {"url": service.url("/back/${item}")}, "retry": {"strategy": "manual"}}
    service.answer("/back/a", REFUSED)
    txn = finished(begin(make_flow(each("pay", service, compensate=undo)), params={"items": ["a", "b"]}))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    assert compensated(txn.instance_id) == "failed"

    verb(record_of(txn).pk, **WHY)

    wait_for(lambda: stored(txn.instance_id).compensation == "done")
    assert len(service.calls) == 4


def test_a_wait_for_a_callback_is_answered_in_place_of_the_service(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(202))
    instance_id = begin(make_flow(waiting("a", service), then(service, "a")))
    wait_for(lambda: statuses(instance_id) == {"a": "waiting"})

    operate.complete_wait(instance_id, "a", output=HOLD, **WHY)

    assert finished(instance_id).status == "success"
    assert service.calls_of("/then")[0].body == {"hold": 7}
    log = ExecutionLog.objects.get(transaction__instance_id=instance_id, event="answered")
    assert (log.actor, log.message, log.detail["after"]["output"]) == ("ann", "the bank says so", HOLD)


def test_a_second_attempt_that_waits_is_completed_by_its_exception(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503), Answer(202))
    at_once = {"strategy": "auto", "max_attempts": 3, "interval": 0}
    instance_id = begin(make_flow(waiting("a", service, retry=at_once), then(service, "a")))
    wait_for(lambda: statuses(instance_id) == {"a": "waiting"})
    record = record_of(stored(instance_id))
    with pytest.raises(IllegalMove, match="is waiting right now"):
        operate.skip_run(record.pk, **WHY)

    record = operate.complete_run(record.pk, output=HOLD, **WHY)

    assert (record.resolution, record.handled_by) == ("fixed_externally", "ann")
    assert finished(instance_id).status == "success"


def waiting(task_id: str, service: Service, **more: Any) -> dict[str, Any]:
    config = {"url": service.url(f"/{task_id}"), **CALLBACK}
    return http(task_id, service, **{"config": config, **more})


def test_what_waits_for_no_service_is_not_completed(worker: WorkerThread) -> None:
    instance_id = begin(make_flow({"id": "ask", "type": "approval"}))
    wait_for(lambda: statuses(instance_id) == {"ask": "waiting"})

    for named in ({"task_id": "ask"}, {"task_id": "nobody"}, {"task_id": "ask", "item": 3}):
        with pytest.raises(IllegalMove, match="waits for its service"):
            operate.complete_wait(instance_id, **named, **WHY)
    assert statuses(instance_id) == {"ask": "waiting"}


def test_what_a_child_was_said_to_have_given_is_told_to_its_parent(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", REFUSED)
    below = make_flow(http("a", service))
    after = http("then", service, "below", input={"hold": "${tasks.below.output.tasks.a.hold_id}"})
    txn = finished(begin(make_flow(sub("below", below), after)))
    child = Transaction.objects.get(parent=txn)

    operate.skip_run(record_of(child).pk, output=HOLD, **WHY)

    wait_for(lambda: service.calls_of("/then"))
    assert finished(txn.instance_id).status == "success"
    assert service.calls_of("/then")[0].body == {"hold": 7}


# Who is told no.


@VERBS
def test_of_two_operators_at_once_one_wins_and_the_other_is_told(failed: Transaction, verb: Verb) -> None:
    pk, told = record_of(failed).pk, []
    barrier = threading.Barrier(2)

    def settle(actor: str) -> None:
        barrier.wait(10)
        try:
            verb(pk, actor=actor, remark="why", output=HOLD)
        except IllegalMove as error:
            told.append(str(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=settle, args=(actor,)) for actor in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    [message] = told
    assert f"was handled by {ExceptionRecord.objects.get(pk=pk).handled_by} already" in message
    assert ExecutionLog.objects.filter(transaction=failed, event__in=("skipped", "completed")).count() == 1
    assert finished(failed.instance_id).status == "success"


@VERBS
def test_a_task_whose_exception_was_only_handled_takes_force(failed: Transaction, verb: Verb) -> None:
    pk = operate.handle_exception(record_of(failed).pk, actor="bob", resolution="ignored").pk
    with pytest.raises(IllegalMove, match="handled by bob already; force overrides that"):
        verb(pk, output=HOLD, **WHY)

    record = verb(pk, output=HOLD, force=True, **WHY)

    assert (record.handled_by, record.resolution) == ("bob", "ignored"), "handled once"
    assert finished(failed.instance_id).status == "success"


@VERBS
def test_after_an_old_exception_the_newest_is_closed_with_the_run(
    failed: Transaction, service: Service, verb: Verb
) -> None:
    service.answer("/a", REFUSED)
    old = operate.handle_exception(record_of(failed).pk, actor="bob")
    operate.retry_transaction(failed.instance_id, actor="bob")
    wait_for(lambda: ExceptionRecord.objects.filter(transaction=failed, status="open").exists())
    finished(failed.instance_id)

    verb(old.pk, output=HOLD, force=True, **WHY)

    assert not ExceptionRecord.objects.unhandled().filter(transaction=failed).exists()
    assert finished(failed.instance_id).status == "success"


@VERBS
def test_nothing_forward_is_settled_once_undoing_has_begun(in_doubt: Transaction, verb: Verb) -> None:
    operate.compensate_transaction(in_doubt.instance_id, actor="ada", remark="why")
    assert compensated(in_doubt.instance_id) == "done"
    record = record_of(in_doubt)

    with pytest.raises(IllegalMove, match="compensation of .* has begun"):
        verb(record.pk, force=True, **WHY)


@VERBS
@pytest.mark.parametrize("remark", ["", " \n"])
def test_a_reason_is_needed(failed: Transaction, verb: Verb, remark: str) -> None:
    with pytest.raises(InvalidRequest, match="say why"):
        verb(record_of(failed).pk, actor="ann", remark=remark)
    assert statuses(failed.instance_id) == {"a": "failed"}


@VERBS
@pytest.mark.parametrize(
    ("output", "message"),
    [("\0", "not allowed"), ({"a": float("nan")}, "finite"), ("x" * 1_048_577, "at most 1048576 bytes")],
)
def test_what_cannot_be_stored_is_refused(failed: Transaction, verb: Verb, output: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        verb(record_of(failed).pk, output=output, **WHY)
    assert record_of(failed).status == "open"


@VERBS
def test_nobody_settles_what_is_not_there(worker: WorkerThread, verb: Verb) -> None:
    with pytest.raises(NotFound):
        verb(4711, **WHY)


@VERBS
def test_a_worker_that_dies_right_after_it_changes_nothing(
    failed: Transaction, service: Service, start_worker: Callable[[], WorkerThread], worker: WorkerThread, verb: Verb
) -> None:
    gate = service.hold("/then")
    verb(record_of(failed).pk, output=HOLD, **WHY)
    wait_for(service.began["/then"].is_set)
    assert worker.drain is not None

    rescue.report_deaths([worker.drain.worker_id])
    start_worker()
    gate.set()

    wait_for(lambda: statuses(failed.instance_id).get("then") == "failed")
    assert TaskRun.objects.get(transaction=failed, task_id="then").maybe_executed
    finished(failed.instance_id)


def test_an_item_that_is_settled_while_its_task_fails_for_it_keeps_it_from_failing(transactional_db: None) -> None:
    """The worker has decided already, and knows it not."""
    flow = make_flow({"id": "pay", "type": "noop", "foreach": "params.items"})
    for number, settle in enumerate((operate.skip_run, operate.complete_run, tried_again)):
        worker_id, txn = failing_items(flow, instance_id=f"i{number}")
        settle(record_of(txn).pk, **WHY)

        whole = failed_run("pay", code="ITEMS_FAILED", is_raised=False)
        end = Write(txn.pk, txn.revision, ended=[whole], finish="failed", release=True)

        assert record(end, worker_id=worker_id) == [Written(stale=True)]
        assert runs(txn.instance_id)[-1] == "waiting"
        assert stored(txn.instance_id).status == "running"


def tried_again(exception_id: int, *, actor: str, remark: str) -> object:
    return operate.retry_exception(exception_id, actor=actor, remark=remark, delay_seconds=0)


def failed_run(task_id: str, *, code: str, **more: Any) -> Ended:
    return Ended(task_id, 1, "failed", "failed", error_code=code, outcome="terminal", task_name=task_id, **more)


def failing_items(flow: Any, *, instance_id: str) -> tuple[int, Transaction]:
    """A worker holds it; its item has failed, and the task waits for it still."""
    begin(flow, params={"items": [1]}, instance_id=instance_id)
    with connection.cursor() as cursor:
        worker_id = leases.register(cursor, cluster="t", host="t", pid=1, lease_seconds=600)
    claim(worker_id=worker_id, limit=1)
    txn = stored(instance_id)
    whole = Begun("pay", attempt=1, budget=1, input={"items": [1]})
    item = Begun("pay", attempt=1, budget=1, input={"item": 1}, item=0)
    waits = Ended("pay", 1, "waiting", "waiting", waits_for="items")
    for write in (
        {"begun": [whole]},
        {"ended": [waits], "begun": [item]},
        {"ended": [failed_run("pay", code="X", item=0)]},
    ):
        assert record(Write(txn.pk, txn.revision, **write), worker_id=worker_id) == [Written()]
    return worker_id, txn
