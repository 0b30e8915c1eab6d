"""What was done is undone: by itself where the flow says so, or when a person asks for it."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.engine import operate
from dist_task.engine.compensate import Done, backwards, progress, steps, to_undo
from dist_task.engine.moves import Compensated, RunState
from dist_task.errors import IllegalMove
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.definition import FlowDefinition

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_plan import graphs
from .test_transactions_run import http
from .worker import WorkerThread, wait_for

REFUSED = Answer(400, body={"code": "NO_STOCK", "message": "sold out"})
SOON = {"strategy": "auto", "max_attempts": 1, "interval": 0}


def undoable(task_id: str, service: Service, *depends_on: str, **more: object) -> dict[str, object]:
    undo = {"config": {"url": service.url(f"/undo-{task_id}")}, "retry": SOON}
    return http(task_id, service, *depends_on, **{"compensate": undo, **more})


def undone(instance_id: str) -> dict[str, str]:
    runs = TaskRun.objects.filter(transaction__instance_id=instance_id, op="compensate")
    return dict(runs.values_list("task_id", "status"))


def paths(service: Service) -> list[str]:
    return [call.path for call in service.calls]


def compensated(instance_id: str) -> str:
    wait_for(lambda: stored(instance_id).compensation in ("done", "failed"))
    return stored(instance_id).compensation


def test_a_failure_undoes_what_was_done_the_last_thing_first(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", Answer(body={"payment": 7}))
    service.answer("/ship", REFUSED)
    tasks = undoable("pay", service), undoable("stock", service, "pay"), undoable("ship", service, "stock")

    txn = finished(begin(make_flow(*tasks, on_failure="compensate"), params={"pay": {"amount": 5}}))

    assert (txn.status, txn.compensation) == ("failed", "done")
    assert paths(service) == ["/pay", "/stock", "/ship", "/undo-stock", "/undo-pay"]
    assert undone(txn.instance_id) == {"stock": "success", "pay": "success"}
    call = service.calls[-1]
    assert (call.body["amount"], call.body["output"]["body"]) == (5, {"payment": 7})
    assert call.headers["x-dist-task-op"] == "compensate"


def test_the_failure_that_was_undone_needs_nobody(worker: WorkerThread, service: Service) -> None:
    service.answer("/b", REFUSED)
    flow = make_flow(undoable("a", service), http("b", service, "a"), on_failure="compensate")

    txn = finished(begin(flow))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (record.task_id, record.status, record.handled_by) == ("b", "handled", "system")
    events = ExecutionLog.objects.filter(transaction=txn, task_id="").values_list("event", "message")
    assert list(events) == [("compensating", ""), ("compensated", "done")]


def test_what_may_have_been_done_is_undone_and_what_never_started_is_not(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/b", Answer(drop=True))
    tasks = undoable("a", service), undoable("b", service, "a"), undoable("c", service, "b")

    txn = finished(begin(make_flow(*tasks, on_failure="compensate")))

    assert undone(txn.instance_id) == {"a": "success", "b": "success"}
    assert not ExceptionRecord.objects.unhandled().filter(transaction=txn).exists()


def test_an_unknown_outcome_that_nothing_undoes_stays_with_a_person(worker: WorkerThread, service: Service) -> None:
    service.answer("/b", Answer(drop=True))
    flow = make_flow(undoable("a", service), http("b", service, "a"), on_failure="compensate")

    txn = finished(begin(flow))

    assert (txn.compensation, undone(txn.instance_id)) == ("done", {"a": "success"})
    assert ExceptionRecord.objects.get(transaction=txn).status == "open"


def test_a_task_that_is_passed_over_keeps_the_order_of_those_around_it(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/undo-c")
    service.answer("/d", REFUSED)
    middle = http("b", service, "a")
    flow = make_flow(
        undoable("a", service), middle, undoable("c", service, "b"), http("d", service, "c"), on_failure="compensate"
    )

    instance_id = begin(flow)
    service.began["/undo-c"].wait(30)

    assert undone(instance_id) == {"c": "running"}, "a waits for c, though only b is between them"
    assert stored(instance_id).status == "running"
    gate.set()
    assert finished(instance_id).compensation == "done"
    assert undone(instance_id) == {"a": "success", "c": "success"}


def test_independent_tasks_are_undone_side_by_side(worker: WorkerThread, service: Service) -> None:
    gates = [service.hold("/undo-b"), service.hold("/undo-c")]
    service.answer("/d", REFUSED)
    tasks = undoable("a", service), undoable("b", service, "a"), undoable("c", service, "a"), http("d", service, "b")

    instance_id = begin(make_flow(*tasks, on_failure="compensate"))
    wait_for(lambda: undone(instance_id) == {"b": "running", "c": "running"})
    for gate in gates:
        gate.set()

    assert finished(instance_id).compensation == "done"
    assert service.calls[-1].path == "/undo-a"


def test_a_failed_compensation_stops_before_what_comes_before_it_and_waits_for_a_person(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/undo-b", *itertools.repeat(Answer(503), 2))
    service.answer("/c", REFUSED)
    tasks = undoable("a", service), undoable("b", service, "a"), http("c", service, "b")
    txn = finished(begin(make_flow(*tasks, on_failure="compensate")))

    assert (txn.status, txn.compensation, undone(txn.instance_id)) == ("failed", "failed", {"b": "failed"})
    record = ExceptionRecord.objects.get(transaction=txn, op="compensate")
    assert (record.status, record.task_id, record.occurrences) == ("open", "b", 2)

    operate.retry_exception(record.pk, actor="ada", delay_seconds=0)

    assert compensated(txn.instance_id) == "done"
    assert undone(txn.instance_id) == {"a": "success", "b": "success"}
    record.refresh_from_db()
    assert (record.status, record.handled_by) == ("handled", "system")


def test_a_person_undoes_a_successful_transaction_which_stays_successful(
    worker: WorkerThread, service: Service
) -> None:
    txn = finished(begin(make_flow(undoable("a", service), undoable("b", service, "a"))))

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="the customer sent it back")

    assert compensated(txn.instance_id) == "done"
    after = stored(txn.instance_id)
    assert (after.status, after.completed_at, after.owner, after.wake_at) == ("success", txn.completed_at, None, None)
    assert paths(service)[-2:] == ["/undo-b", "/undo-a"]
    entry = ExecutionLog.objects.get(transaction=txn, event="compensating")
    assert (entry.actor, entry.message) == ("ada", "the customer sent it back")


def test_a_person_asks_again_where_it_failed(worker: WorkerThread, service: Service) -> None:
    service.answer("/undo-a", *itertools.repeat(Answer(503), 2))
    txn = finished(begin(make_flow(undoable("a", service))))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    assert compensated(txn.instance_id) == "failed"

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="the refund service is back")

    assert compensated(txn.instance_id) == "done"
    assert [call.headers["x-dist-task-attempt"] for call in service.calls[1:]] == ["1", "2", "3"]
    assert len({call.headers["idempotency-key"] for call in service.calls[1:]}) == 1


def test_once_undoing_has_begun_forward_work_is_neither_retried_nor_cancelled(
    worker: WorkerThread, service: Service
) -> None:
    gate = service.hold("/undo-a")
    service.answer("/b", REFUSED)
    txn = finished(begin(make_flow(undoable("a", service), http("b", service, "a"))))
    failure = ExceptionRecord.objects.get(transaction=txn)
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    service.began["/undo-a"].wait(30)

    with pytest.raises(IllegalMove, match="has begun"):
        operate.retry_transaction(txn.instance_id, actor="bob")
    with pytest.raises(IllegalMove, match="has begun"):
        operate.cancel_transaction(txn.instance_id, actor="bob", remark="why")
    with pytest.raises(IllegalMove, match="has begun"):
        operate.retry_exception(failure.pk, actor="bob")
    with pytest.raises(IllegalMove, match="cannot be compensated now"):
        operate.compensate_transaction(txn.instance_id, actor="bob", remark="why")

    gate.set()
    assert compensated(txn.instance_id) == "done"


def test_nothing_that_runs_is_undone(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    instance_id = begin(make_flow(undoable("a", service)))
    service.began["/a"].wait(30)

    with pytest.raises(IllegalMove, match="running"):
        operate.compensate_transaction(instance_id, actor="ada", remark="why")

    gate.set()
    finished(instance_id)


def test_a_cancelled_transaction_can_be_undone(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    instance_id = begin(make_flow(undoable("a", service), http("b", service, "a")))
    service.began["/a"].wait(30)
    operate.cancel_transaction(instance_id, actor="ada", remark="why")
    gate.set()
    assert finished(instance_id).status == "cancelled"

    operate.compensate_transaction(instance_id, actor="ada", remark="why")

    assert compensated(instance_id) == "done"
    assert (stored(instance_id).status, undone(instance_id)) == ("cancelled", {"a": "success"})


def test_where_nothing_is_to_be_undone_it_is_done_at_once(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", REFUSED)

    txn = finished(begin(make_flow(undoable("a", service), on_failure="compensate")))

    assert (txn.status, txn.compensation, undone(txn.instance_id)) == ("failed", "done", {})


# Pure.


def undoable_definition(graph: dict[str, list[str]], *, undoable: set[str]) -> FlowDefinition:
    tasks = [
        {"id": task_id, "type": "noop", "depends_on": needs, **({"compensate": {}} if task_id in undoable else {})}
        for task_id, needs in graph.items()
    ]
    return FlowDefinition.parse({"tasks": tasks}, registry={}, kinds={"noop": lambda config: []})


def ancestors(graph: dict[str, list[str]], task_id: str) -> set[str]:
    return set(graph[task_id]).union(*(ancestors(graph, needed) for needed in graph[task_id]))


@given(graph=graphs(), seed=st.integers(0, 10_000))
def test_random_graphs_are_undone_in_reverse_each_task_once(graph: dict[str, list[str]], seed: int) -> None:
    chance = random.Random(seed)
    with_undo = {task_id for task_id in graph if chance.random() < 0.7}
    flow = undoable_definition(graph, undoable=with_undo)
    left = [Done(task_id, chance.choice(["success", "failed"]), chance.random() < 0.2) for task_id in graph]
    expected = {each.task_id for each in left if each.is_to_be_undone} & with_undo
    undo = to_undo(flow, done=left)
    going, running, order = progress(backwards(flow), undo=undo, runs=()), set(), []

    while not isinstance((moves := going.moves(now=0.0) or [None])[0], Compensated):
        for move in filter(None, moves):
            assert not {later for later in undo - set(order) if move.task_id in ancestors(graph, later)}
            running.add(move.task_id)
            going.see(RunState(move.task_id, status="running", attempt=1))
        order.append(chance.choice(sorted(running)))
        running.discard(order[-1])
        going.see(RunState(order[-1], status="success", attempt=1))

    assert moves == [Compensated("done")]
    assert sorted(order) == sorted(expected) == sorted(undo)
    plan = {step.task_id: step.step for step in steps(flow, done=left) if step.is_undone}
    assert set(plan) == expected
    assert all(plan[before] > plan[later] for later in plan for before in ancestors(graph, later) & set(plan))
