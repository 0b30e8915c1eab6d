"""A paused transaction stands still until it is resumed: nothing of it begins, nothing that comes meanwhile is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from dist_task.engine import operate, rescue
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.models import ExecutionLog, TaskRun
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_subflow import child_of, sub
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

SLOW_RETRY = {"strategy": "auto", "max_attempts": 3, "interval": 0.2}
ASK = {"id": "ask", "type": "approval"}


def pause(instance_id: str) -> Transaction:
    return operate.pause_transaction(instance_id, actor="ann", remark="the bank is down")


def resume(instance_id: str) -> Transaction:
    return operate.resume_transaction(instance_id, actor="bob", remark="the bank is back")


def stands_still(instance_id: str) -> bool:
    txn = stored(instance_id)
    return txn.paused and txn.owner is None and txn.wake_at is None


def test_attempts_in_flight_end_and_nothing_begins_until_it_is_resumed(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    instance_id = begin(make_flow(http("a", service), http("b", service, "a")))
    wait_for(service.began["/a"].is_set)

    assert pause(instance_id).paused
    gate.set()
    wait_for(lambda: stands_still(instance_id))

    assert (stored(instance_id).status, statuses(instance_id)) == ("running", {"a": "success"})
    assert not service.calls_of("/b")
    resume(instance_id)
    assert finished(instance_id).status == "success"
    events = ExecutionLog.objects.filter(transaction__instance_id=instance_id, event__in=("paused", "resumed"))
    assert list(events.values_list("event", "actor", "message")) == [
        ("paused", "ann", "the bank is down"),
        ("resumed", "bob", "the bank is back"),
    ]


def test_what_was_paused_before_it_began_does_not_begin(start_worker: Callable[[], WorkerThread]) -> None:
    instance_id = begin(make_flow({"id": "a", "type": "noop"}))
    pause(instance_id)

    start_worker()
    finished(begin(make_flow({"id": "a", "type": "noop"})))

    assert (stored(instance_id).status, statuses(instance_id)) == ("pending", {})
    resume(instance_id)
    assert finished(instance_id).status == "success"


def test_a_decision_made_meanwhile_is_kept(worker: WorkerThread, service: Service) -> None:
    instance_id = begin(make_flow(ASK, http("b", service, "ask")))
    wait_for(lambda: statuses(instance_id) == {"ask": "waiting"} and stored(instance_id).owner is None)
    pause(instance_id)

    operate.decide_approval(instance_id, "ask", approve=True, actor="ada", roles=None, remark="why")
    finished(begin(make_flow({"id": "a", "type": "noop"})))

    assert stands_still(instance_id)
    assert statuses(instance_id) == {"ask": "waiting"}
    resume(instance_id)
    assert finished(instance_id).status == "success"


def test_a_retry_that_falls_due_meanwhile_waits(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503))
    instance_id = begin(make_flow(http("a", service, retry={**SLOW_RETRY, "interval": 3600})))
    wait_for(lambda: statuses(instance_id) == {"a": "pending"} and stored(instance_id).owner is None)
    pause(instance_id)
    record = TaskRun.objects.get(transaction__instance_id=instance_id).exceptions.get()

    operate.retry_exception(record.pk, actor="ann", delay_seconds=0)
    finished(begin(make_flow({"id": "a", "type": "noop"})))

    assert (stands_still(instance_id), len(service.calls)) == (True, 1)
    resume(instance_id)
    assert finished(instance_id).status == "success"


def test_the_time_of_the_flow_and_of_its_tasks_counts_anew(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(503))
    gate = service.hold("/a")
    instance_id = begin(make_flow(http("a", service, retry=SLOW_RETRY, total_timeout=60), timeout=60))
    wait_for(service.began["/a"].is_set)
    pause(instance_id)
    gate.set()
    wait_for(lambda: stands_still(instance_id) and statuses(instance_id) == {"a": "pending"})
    with connection.cursor() as cursor:  # two hours pass
        cursor.execute("UPDATE transactions_transaction SET started_at = started_at - interval '2 hours'")
        cursor.execute("UPDATE dist_task_taskrun SET deadline_at = now() - interval '1 hour'")

    resume(instance_id)

    assert finished(instance_id).status == "success"


def test_a_cancel_takes_the_pause_away(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    in_flight = begin(make_flow(http("a", service), http("b", service, "a")))
    wait_for(service.began["/a"].is_set)
    waiting = begin(make_flow(ASK))
    wait_for(lambda: statuses(waiting) == {"ask": "waiting"} and stored(waiting).owner is None)
    for instance_id in (in_flight, waiting):
        pause(instance_id)
        operate.cancel_transaction(instance_id, actor="ada", remark="why")
    gate.set()

    assert {(finished(each).status, finished(each).paused) for each in (in_flight, waiting)} == {("cancelled", False)}


def test_undoing_is_paused_as_well(worker: WorkerThread, service: Service) -> None:
    undo = {"config": {"url": service.url("/back")}}
    gate = service.hold("/back")
    tasks = http("a", service, compensate=undo), http("b", service, "a", compensate=undo)
    txn = finished(begin(make_flow(*tasks)))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    wait_for(service.began["/back"].is_set)

    pause(txn.instance_id)
    gate.set()
    wait_for(lambda: stands_still(txn.instance_id))

    assert len(service.calls_of("/back")) == 1
    resume(txn.instance_id)
    wait_for(lambda: stored(txn.instance_id).compensation == "done")
    assert stored(txn.instance_id).status == "success"


def test_the_items_of_a_task_stand_still(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/pay")
    flow = make_flow(http("pay", service, foreach="params.items", max_parallel=2))
    instance_id = begin(flow, params={"items": [1, 2, 3, 4]})
    wait_for(lambda: service.in_progress["/pay"] == 2)

    pause(instance_id)
    gate.set()
    wait_for(lambda: stands_still(instance_id))

    assert len(service.calls) == 2
    resume(instance_id)
    assert finished(instance_id).status == "success"
    assert len(service.calls) == 4


def test_what_a_transaction_has_started_stands_still_with_it(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    instance_id = begin(make_flow(sub("below", make_flow(http("a", service), http("b", service, "a")))))
    wait_for(service.began["/a"].is_set)
    child = child_of(instance_id)

    pause(instance_id)
    gate.set()
    wait_for(lambda: stands_still(child.instance_id) and stands_still(instance_id))

    assert not service.calls_of("/b")
    log = ExecutionLog.objects.get(transaction=child, event="paused")
    assert (log.actor, log.message) == ("ann", "with the transaction that started it")
    resume(instance_id)
    assert finished(instance_id).status == "success"


def test_a_worker_that_dies_under_a_pause_leaves_nothing_behind(
    start_worker: Callable[[], WorkerThread], service: Service
) -> None:
    gate = service.hold("/a")
    first = start_worker()
    retry = {"strategy": "auto", "max_attempts": 3, "interval": 0}
    instance_id = begin(make_flow(http("a", service, retry=retry), http("b", service, "a")))
    wait_for(service.began["/a"].is_set)
    pause(instance_id)
    assert first.drain is not None

    rescue.report_deaths([first.drain.worker_id])  # as if: it does not know, and is fenced
    start_worker()
    gate.set()
    wait_for(lambda: stands_still(instance_id) and statuses(instance_id) == {"a": "pending"})

    resume(instance_id)
    assert finished(instance_id).status == "success"
    assert len(service.calls_of("/a")) == 2


def test_of_two_operators_one_pauses_and_the_other_is_told(worker: WorkerThread) -> None:
    instance_id = begin(make_flow(ASK))
    pause(instance_id)

    with pytest.raises(IllegalMove, match="is paused already"):
        pause(instance_id)
    resume(instance_id)
    with pytest.raises(IllegalMove, match="is not paused"):
        resume(instance_id)


def test_what_has_ended_or_is_being_cancelled_is_not_paused(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(400))
    failed = finished(begin(make_flow(http("a", service))))
    done = finished(begin(make_flow()))
    gate = service.hold("/slow")
    cancelling = begin(make_flow(http("slow", service)))
    wait_for(service.began["/slow"].is_set)
    operate.cancel_transaction(cancelling, actor="ada", remark="why")
    before = ExecutionLog.objects.count()

    for instance_id, status in ((failed.instance_id, "failed"), (done.instance_id, "success"), (cancelling, "being c")):
        with pytest.raises(IllegalMove, match=f"is {status}.* cannot be paused"):
            pause(instance_id)

    assert ExecutionLog.objects.count() == before
    gate.set()


@pytest.mark.parametrize("verb", [operate.pause_transaction, operate.resume_transaction])
def test_a_reason_is_needed(worker: WorkerThread, verb: Any) -> None:
    instance_id = begin(make_flow(ASK))

    with pytest.raises(InvalidRequest, match="say why"):
        verb(instance_id, actor="ann", remark=" \n")
    with pytest.raises(NotFound):
        verb("nobody", actor="ann", remark="why")
    assert not stored(instance_id).paused


def test_a_paused_transaction_is_not_compensated_before_it_has_ended(worker: WorkerThread) -> None:
    instance_id = begin(make_flow(ASK))
    pause(instance_id)

    with pytest.raises(IllegalMove, match="cannot be compensated now"):
        operate.compensate_transaction(instance_id, actor="ann", remark="why")
    assert stored(instance_id).paused
