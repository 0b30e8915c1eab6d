"""A task may be a transaction of its own: it ends as that one does, and is cancelled, retried and undone with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from dist_task.engine import children, operate
from dist_task.errors import ExecutionError
from dist_task.executors.base import TaskCall
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, paths, undoable
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

REFUSED = Answer(400, body={"code": "NO_STOCK"})


def sub(task_id: str, flow: Flow, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "subflow", "config": {"flow": flow.name}, "depends_on": list(depends_on), **more}


def child_of(instance_id: str) -> Transaction:
    return Transaction.objects.get(parent__instance_id=instance_id)


def exceptions(instance_id: str) -> list[tuple[str, str]]:
    found = ExceptionRecord.objects.filter(transaction__instance_id=instance_id).order_by("id")
    return list(found.values_list("error_code", "status"))


def test_a_task_ends_as_the_transaction_does_that_it_starts(worker: WorkerThread, service: Service) -> None:
    service.answer("/book", Answer(body={"parcel": 9}))
    ship = make_flow(http("book", service))
    tell = http("tell", service, "ship", input={"parcel": "${tasks.ship.output.tasks.book.body.parcel}"})
    flow = make_flow(sub("ship", ship, input={"order": "${params.order}"}), tell)

    txn = finished(begin(flow, params={"order": 5}, instance_id="order_sub"))

    assert (txn.status, [call.body for call in service.calls]) == ("success", [{"order": 5}, {"parcel": 9}])
    child = child_of("order_sub")
    assert (child.instance_id, child.status, child.flow_id) == ("order_sub.ship", "success", ship.pk)
    assert (child.created_by, child.parent_task_id, child.parent_item) == (txn.created_by, "ship", -1)
    wait_for(lambda: not child_of("order_sub").owes_parent)


def test_by_name_the_newest_active_version_runs_and_by_id_the_one_that_is_named(
    worker: WorkerThread, service: Service
) -> None:
    first = make_flow({"id": "old", "type": "noop"}, name="ship_twice")
    second = Flow.objects.create(name="ship_twice", version=2, flow_type="test", definition='{"tasks":[]}')
    Flow.objects.create(name="ship_twice", version=3, flow_type="test", definition='{"tasks":[]}', is_active=False)
    by_id = {"id": "b", "type": "subflow", "config": {"flow_id": first.pk}}

    txn = finished(begin(make_flow(sub("a", first), by_id)))

    found = Transaction.objects.filter(parent=txn).order_by("parent_task_id").values_list("flow_id", flat=True)
    assert (txn.status, list(found)) == ("success", [second.pk, first.pk])


def test_its_failure_fails_the_task_and_its_repair_lets_it_go_on(worker: WorkerThread, service: Service) -> None:
    service.answer("/book", REFUSED)
    flow = make_flow(sub("ship", make_flow(http("book", service))), http("tell", service, "ship"))
    txn = finished(begin(flow))
    child = child_of(txn.instance_id)
    assert (txn.status, child.status) == ("failed", "failed")
    assert exceptions(txn.instance_id) == [("CHILD_FAILED", "open")]
    wait_for(lambda: not child_of(txn.instance_id).owes_parent)

    operate.retry_transaction(child.instance_id, actor="ada")

    wait_for(lambda: stored(txn.instance_id).status == "success")
    assert paths(service) == ["/book", "/book", "/tell"]
    assert exceptions(txn.instance_id) == [("CHILD_FAILED", "handled")]
    assert exceptions(child.instance_id) == [("NO_STOCK", "handled")]


def test_retrying_the_task_retries_what_failed_in_its_transaction(worker: WorkerThread, service: Service) -> None:
    service.answer("/b", REFUSED)
    ship = make_flow(http("a", service), http("b", service, "a"))
    txn = finished(begin(make_flow(sub("ship", ship))))
    wait_for(lambda: not child_of(txn.instance_id).owes_parent)

    operate.retry_transaction(txn.instance_id, actor="ada")

    assert finished(txn.instance_id).status == "success"
    assert paths(service) == ["/a", "/b", "/b"]
    events = ExecutionLog.objects.filter(transaction__parent__isnull=False, event="retried")
    assert [(each.actor, each.message) for each in events] == [("system", "its parent was retried")]


def test_what_a_failed_one_has_done_is_undone_with_its_parent(worker: WorkerThread, service: Service) -> None:
    service.answer("/b", REFUSED)
    ship = make_flow(undoable("a", service), http("b", service, "a"))
    flow = make_flow(undoable("pay", service), sub("ship", ship, "pay"), on_failure="compensate")

    txn = finished(begin(flow))

    assert (txn.status, txn.compensation) == ("failed", "done")
    assert paths(service) == ["/pay", "/a", "/b", "/undo-a", "/undo-pay"]
    child = child_of(txn.instance_id)
    assert (child.status, child.compensation) == ("failed", "done")


def test_a_successful_one_is_undone_as_its_own_flow_says(worker: WorkerThread, service: Service) -> None:
    ship = make_flow(undoable("a", service), undoable("b", service, "a"))
    txn = finished(begin(make_flow(undoable("pay", service), sub("ship", ship, "pay"))))

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    assert compensated(txn.instance_id) == "done"
    assert paths(service)[3:] == ["/undo-b", "/undo-a", "/undo-pay"]


def test_one_that_undid_itself_leaves_nothing_to_be_undone(worker: WorkerThread, service: Service) -> None:
    service.answer("/b", REFUSED)
    ship = make_flow(undoable("a", service), http("b", service, "a"), on_failure="compensate")
    txn = finished(begin(make_flow(sub("ship", ship))))

    run = TaskRun.objects.get(transaction=txn)
    assert (run.error_code, run.maybe_executed) == ("CHILD_FAILED", False)
    assert paths(service) == ["/a", "/b", "/undo-a"]


def test_a_compensation_that_fails_in_it_fails_the_one_above_and_goes_on_after_its_repair(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/undo-a", REFUSED)
    undo = {"config": {"url": service.url("/undo-a")}, "retry": {"strategy": "manual"}}
    ship = make_flow(undoable("a", service, compensate=undo))
    txn = finished(begin(make_flow(undoable("pay", service), sub("ship", ship, "pay"))))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    assert compensated(txn.instance_id) == "failed"
    child = child_of(txn.instance_id)
    assert child.compensation == "failed"
    wait_for(lambda: not child_of(txn.instance_id).owes_parent)

    operate.compensate_transaction(child.instance_id, actor="bob", remark="why")

    wait_for(lambda: stored(txn.instance_id).compensation == "done")
    assert paths(service) == ["/pay", "/a", "/undo-a", "/undo-a", "/undo-pay"]


def test_a_compensation_may_be_a_flow_of_its_own(worker: WorkerThread, service: Service) -> None:
    refund = make_flow(http("refund", service))
    undo = {"config": {"flow": refund.name}, "input": {"of": "${output.tasks.a.body.id}"}}
    service.answer("/a", Answer(body={"id": 7}))
    txn = finished(begin(make_flow(sub("pay", make_flow(http("a", service)), compensate=undo)), instance_id="order_r"))

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    assert compensated("order_r") == "done"
    assert service.calls[-1].path == "/refund" and service.calls[-1].body == {"of": 7}
    assert stored("order_r.pay:compensate").status == "success"
    assert stored("order_r.pay").compensation == "none"


def test_cancelling_goes_down_to_the_last_one(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/deep")
    deep = make_flow(http("deep", service), http("later", service, "deep"))
    middle = make_flow(sub("middle", deep))
    instance_id = begin(make_flow(sub("top", middle)), instance_id="order_c")
    wait_for(lambda: service.in_progress["/deep"] == 1)

    operate.cancel_transaction(instance_id, actor="ada", remark="why")
    gate.set()

    assert finished(instance_id).status == "cancelled"
    assert [stored(f"order_c{rest}").status for rest in (".top", ".top.middle")] == ["cancelled", "cancelled"]
    assert paths(service) == ["/deep"]
    assert exceptions(instance_id) == [("CHILD_CANCELLED", "open")], "the deepest has done something"


def test_cancelling_what_has_done_nothing_needs_nobody(worker: WorkerThread) -> None:
    asleep = make_flow({"id": "sleep", "type": "wait", "config": {"seconds": 900}})
    instance_id = begin(make_flow(sub("top", asleep)))
    wait_for(lambda: TaskRun.objects.filter(waits_for="time").exists())

    operate.cancel_transaction(instance_id, actor="ada", remark="why")

    assert finished(instance_id).status == "cancelled"
    assert child_of(instance_id).status == "cancelled"
    assert [status for _code, status in exceptions(instance_id)] == ["handled"]


def test_a_subflow_for_each_item(worker: WorkerThread, service: Service) -> None:
    ship = make_flow(http("book", service))
    flow = make_flow(sub("ship", ship, foreach="params.items", max_parallel=2))

    txn = finished(begin(flow, params={"items": [{"n": 0}, {"n": 1}, {"n": 2}]}, instance_id="order_e"))

    assert txn.status == "success"
    assert sorted(call.body["n"] for call in service.calls) == [0, 1, 2]
    found = Transaction.objects.filter(parent=txn).values_list("instance_id", "parent_item")
    assert sorted(found) == [("order_e.ship:0", 0), ("order_e.ship:1", 1), ("order_e.ship:2", 2)]


def test_a_child_that_ended_while_nobody_listened_is_told_by_housekeeping(worker: WorkerThread) -> None:
    ask = make_flow({"id": "ask", "type": "approval", "config": {}})
    instance_id = begin(make_flow(sub("top", ask)))
    wait_for(lambda: TaskRun.objects.filter(waits_for="approval").exists())
    worker.drain._tell_parents = lambda child_ids: None
    operate.decide_approval(
        child_of(instance_id).instance_id, "ask", approve=True, actor="ada", roles=None, remark="why"
    )
    wait_for(lambda: child_of(instance_id).is_final)
    assert child_of(instance_id).owes_parent and not stored(instance_id).is_final

    del worker.drain._tell_parents

    assert finished(instance_id).status == "success"


@pytest.mark.parametrize(
    ("config", "code"),
    [({"flow": "nobody"}, "NO_FLOW"), ({"flow_id": "nobody"}, "NO_FLOW")],
)
def test_a_flow_that_is_not_there_fails_the_task(worker: WorkerThread, config: dict[str, str], code: str) -> None:
    txn = finished(begin(make_flow({"id": "a", "type": "subflow", "config": config})))

    assert exceptions(txn.instance_id) == [(code, "open")]


def test_an_instance_id_that_somebody_else_has_is_not_taken_over(worker: WorkerThread) -> None:
    flow = make_flow({"id": "a", "type": "noop"})
    finished(begin(flow, instance_id="order_t.a"))

    txn = finished(begin(make_flow(sub("a", flow)), instance_id="order_t"))

    assert exceptions(txn.instance_id) == [("INSTANCE_ID_TAKEN", "open")]
    assert stored("order_t.a").parent_id is None


def test_params_that_do_not_fit_the_schema_are_refused(worker: WorkerThread) -> None:
    schema = {"type": "object", "required": ["order"]}
    flow = make_flow({"id": "a", "type": "noop"}, params_schema=schema)

    txn = finished(begin(make_flow(sub("a", flow, input={}))))

    assert exceptions(txn.instance_id) == [("INVALID_INPUT", "open")]
    assert not Transaction.objects.filter(parent=txn).exists()


def test_a_flow_that_starts_itself_without_end_is_stopped(worker: WorkerThread) -> None:
    flow = make_flow({"id": "a", "type": "subflow", "config": {"flow": "endless"}}, name="endless")

    txn = finished(begin(flow, instance_id="endless"))

    assert txn.status == "failed"
    codes = list(ExceptionRecord.objects.order_by("-transaction_id").values_list("error_code", flat=True))
    assert codes == ["SUBFLOW_TOO_DEEP"] + ["CHILD_FAILED"] * (children.MOST_DEPTH - 1)


def test_a_long_name_is_shortened_and_stays_unique() -> None:
    call = partial(TaskCall, op="action", item=-1, attempt=1, config={}, input={}, timeout_seconds=1)
    ids = {children.child_id(call(instance_id="x" * 64, task_id=f"{'y' * 60}{n}")) for n in range(9)}

    assert len(ids) == 9 and {len(each) for each in ids} == {64}
    assert children.child_id(call(instance_id="order_1", task_id="ship")) == "order_1.ship"


def test_a_worker_that_lost_the_transaction_starts_nothing(db: None) -> None:
    flow = make_flow({"id": "a", "type": "noop"})
    instance_id = begin(make_flow(sub("a", flow)))
    call = TaskCall(instance_id, "a", "action", -1, 1, {"flow": flow.name}, {}, 1.0)

    with pytest.raises(ExecutionError, match="another worker"):
        children.ask(call, transaction_id=stored(instance_id).pk, worker_id=4711)

    assert Transaction.objects.count() == 1


def test_the_parent_goes_on_while_its_tasks_show_what_they_wait_for(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/book")
    flow = make_flow(sub("ship", make_flow(http("book", service))), http("bill", service))
    instance_id = begin(flow)

    wait_for(lambda: statuses(instance_id) == {"ship": "waiting", "bill": "success"})
    gate.set()

    assert finished(instance_id).status == "success"
