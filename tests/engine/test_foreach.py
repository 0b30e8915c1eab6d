"""A task with `foreach` runs once for each item of a list, and each of them is a run of its own."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.engine import operate
from dist_task.errors import IllegalMove
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, paths, undoable
from .test_transactions_run import AUTO, http
from .worker import WorkerThread, wait_for

REFUSED = Answer(400, body={"code": "NO_STOCK"})
Start = Any


def each(task_id: str, service: Service, *depends_on: str, **more: Any) -> dict[str, Any]:
    """A task that calls /ID/ITEM for each of params.items."""
    config = {"url": service.url(f"/{task_id}/${{item}}")}
    return http(task_id, service, *depends_on, **{"config": config, "foreach": "params.items", **more})


def runs(instance_id: str, *, op: str = "action", task_id: str = "pay") -> dict[int, str]:
    found = TaskRun.objects.filter(transaction__instance_id=instance_id, task_id=task_id, op=op)
    return dict(found.values_list("item", "status"))


def test_each_item_is_called_and_what_they_gave_comes_in_order(worker: WorkerThread, service: Service) -> None:
    for item in "abc":
        service.answer(f"/pay/{item}", Answer(body={"paid": item}, seconds=0.05 if item == "a" else 0.0))
    then = http("then", service, "pay", input={"all": "${tasks.pay.output}", "second": "${tasks.pay.output.1.paid}"})

    txn = finished(begin(make_flow(each("pay", service), then), params={"items": ["a", "b", "c"]}))

    assert txn.status == "success"
    assert runs(txn.instance_id) == {-1: "success", 0: "success", 1: "success", 2: "success"}
    body = service.calls_of("/then")[0].body
    assert [one["body"] for one in body["all"]] == [{"paid": "a"}, {"paid": "b"}, {"paid": "c"}]
    assert body["second"] == "b"


def test_every_call_says_which_item_it_is_for_and_has_a_key_of_its_own(worker: WorkerThread, service: Service) -> None:
    finished(begin(make_flow(each("pay", service)), params={"items": ["a", "b"]}))

    calls = sorted(service.calls, key=lambda call: call.path)
    assert [call.headers["x-dist-task-item"] for call in calls] == ["0", "1"]
    assert len({call.headers["idempotency-key"] for call in calls}) == 2


@pytest.mark.parametrize(
    ("item", "expected"), [({"sku": "x", "n": 2}, {"sku": "x", "n": 2}), ("x", {"item": "x", "index": 0})]
)
def test_without_an_input_of_its_own_a_task_gets_its_item(
    worker: WorkerThread, service: Service, item: Any, expected: Any
) -> None:
    finished(begin(make_flow(http("pay", service, foreach="params.items")), params={"items": [item]}))

    assert service.calls[0].body == expected


def test_an_input_may_name_the_item_and_its_number(worker: WorkerThread, service: Service) -> None:
    given = {"sku": "${item.sku}", "line": "${index}", "order": "${instance_id}"}
    flow = make_flow(http("pay", service, foreach="params.items", input=given))

    finished(begin(flow, instance_id="order_each", params={"items": [{"sku": "x"}]}))

    assert service.calls[0].body == {"sku": "x", "line": 0, "order": "order_each"}


@pytest.mark.parametrize("items", [[], None])
def test_no_items_are_a_success(worker: WorkerThread, service: Service, items: Any) -> None:
    then = http("then", service, "pay", input={"all": "${tasks.pay.output}"})

    txn = finished(begin(make_flow(each("pay", service), then), params={"items": items}))

    assert txn.status == "success"
    assert service.calls[0].body == {"all": []}


def test_a_list_of_lists_and_a_single_value_are_what_they_look_like(worker: WorkerThread, service: Service) -> None:
    flow = make_flow(http("pay", service, foreach="params.items", input={"got": "${item}"}))

    for items in ([[1, 2]], "one"):
        finished(begin(flow, params={"items": items}))

    assert [call.body["got"] for call in service.calls] == [[1, 2], "one"]


def test_no_more_are_under_way_at_once_than_the_flow_allows(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/pay")
    flow = make_flow(http("pay", service, foreach="params.items", max_parallel=2))
    instance_id = begin(flow, params={"items": list(range(6))})

    wait_for(lambda: service.in_progress["/pay"] == 2)
    assert service.began_count["/pay"] == 2
    gate.set()

    assert finished(instance_id).status == "success"
    assert service.began_count["/pay"] == 6


def test_all_items_are_tried_and_then_the_task_fails_for_the_one_that_failed(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/pay/a", REFUSED)

    txn = finished(begin(make_flow(each("pay", service, max_parallel=1)), params={"items": ["a", "b", "c"]}))

    assert txn.status == "failed"
    assert runs(txn.instance_id) == {-1: "failed", 0: "failed", 1: "success", 2: "success"}
    whole = TaskRun.objects.get(transaction=txn, item=-1)
    assert (whole.error_code, whole.error_message) == ("ITEMS_FAILED", "1 of 3 items failed")
    record = ExceptionRecord.objects.get(transaction=txn)
    assert (record.item, record.error_code, record.status) == (0, "NO_STOCK", "open")


def test_items_are_retried_by_themselves(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay/b", Answer(503))

    txn = finished(begin(make_flow(each("pay", service, retry=AUTO)), params={"items": ["a", "b"]}))

    assert txn.status == "success"
    assert sorted(paths(service)) == ["/pay/a", "/pay/b", "/pay/b"]
    assert ExceptionRecord.objects.get(transaction=txn).handled_by == "system"


def test_a_person_retries_the_item_that_failed_and_no_other(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay/b", REFUSED)
    then = http("then", service, "pay", input={"all": "${tasks.pay.output}"})
    txn = finished(begin(make_flow(each("pay", service), then), params={"items": ["a", "b"]}))

    operate.retry_exception(ExceptionRecord.objects.get(transaction=txn).pk, actor="ada", delay_seconds=0)

    assert finished(txn.instance_id).status == "success"
    assert sorted(paths(service)) == ["/pay/a", "/pay/b", "/pay/b", "/then"]
    assert len(service.calls_of("/then")[0].body["all"]) == 2


def test_retrying_the_transaction_retries_what_failed(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay/a", REFUSED)
    service.answer("/pay/c", REFUSED)
    txn = finished(begin(make_flow(each("pay", service)), params={"items": ["a", "b", "c"]}))

    operate.retry_transaction(txn.instance_id, actor="ada")

    assert finished(txn.instance_id).status == "success"
    assert sorted(paths(service)) == ["/pay/a", "/pay/a", "/pay/b", "/pay/c", "/pay/c"]


def test_the_list_is_made_once_even_if_what_it_is_made_of_changes(worker: WorkerThread, service: Service) -> None:
    service.answer("/look", REFUSED, Answer(body={"items": [1, 2, 3]}))
    service.answer("/pay", REFUSED)
    look = http("look", service, optional=True)
    pay = http("pay", service, "look", foreach="$append(tasks.look.output.items, 9)")
    txn = finished(begin(make_flow(look, pay)))

    operate.retry_transaction(txn.instance_id, actor="ada")

    assert finished(txn.instance_id).status == "success"
    assert [call.body["item"] for call in service.calls_of("/pay")] == [9, 9]


def test_items_that_were_done_are_undone_and_no_others(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay/b", REFUSED)
    undo = {"config": {"url": service.url("/back/${item}/${output.body.id}")}}
    service.answer("/pay/a", Answer(body={"id": 71}))
    service.answer("/pay/c", Answer(body={"id": 73}))
    flow = make_flow(each("pay", service, compensate=undo, max_parallel=1), on_failure="compensate")

    txn = finished(begin(flow, params={"items": ["a", "b", "c"]}))

    assert (txn.status, txn.compensation) == ("failed", "done")
    assert paths(service)[3:] == ["/back/c/73", "/back/a/71"], "the last one first"
    assert runs(txn.instance_id, op="compensate") == {-1: "success", 0: "success", 2: "success"}
    assert {call.headers["x-dist-task-item"] for call in service.calls[3:]} == {"0", "2"}


def test_items_without_a_compensation_are_passed_over(worker: WorkerThread, service: Service) -> None:
    service.answer("/ship", REFUSED)
    tasks = each("pay", service), undoable("stock", service, "pay"), http("ship", service, "stock")

    txn = finished(begin(make_flow(*tasks, on_failure="compensate"), params={"items": ["a"]}))

    assert txn.compensation == "done"
    assert paths(service) == ["/pay/a", "/stock", "/ship", "/undo-stock"]


def test_items_are_undone_after_what_depends_on_them(worker: WorkerThread, service: Service) -> None:
    service.answer("/ship", REFUSED)
    pay = undoable("pay", service, foreach="params.items")
    tasks = pay, undoable("stock", service, "pay"), undoable("ship", service, "stock")

    txn = finished(begin(make_flow(*tasks, on_failure="compensate"), params={"items": [1, 2]}))

    assert txn.compensation == "done"
    assert paths(service)[-3:] == ["/undo-stock", "/undo-pay", "/undo-pay"]
    assert service.calls[-1].body.keys() == {"item", "index", "output"}


def test_a_failed_compensation_of_an_item_is_retried_alone(worker: WorkerThread, service: Service) -> None:
    once = {"strategy": "manual"}
    undo = {"config": {"url": service.url("/back/${item}")}, "retry": once}
    service.answer("/back/a", REFUSED)
    txn = finished(begin(make_flow(each("pay", service, compensate=undo)), params={"items": ["a", "b"]}))
    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")
    assert compensated(txn.instance_id) == "failed"

    operate.retry_exception(ExceptionRecord.objects.get(transaction=txn).pk, actor="ada", delay_seconds=0)

    wait_for(lambda: stored(txn.instance_id).compensation == "done")
    assert sorted(paths(service)[2:]) == ["/back/a", "/back/a", "/back/b"]


@pytest.mark.parametrize("items", ["not a list", [1, 2, 3], {"a": 1}, None])
def test_a_parameter_of_that_name_is_nothing_special_to_other_tasks(worker: WorkerThread, items: Any) -> None:
    """Nor to the rules, which the worker's fixture asks at the end."""
    tasks = {"id": "each", "type": "noop", "foreach": "[1, 2]"}, {"id": "then", "type": "noop", "depends_on": ["each"]}

    txn = finished(begin(make_flow(*tasks), params={"items": items}))

    assert txn.status == "success"
    assert TaskRun.objects.get(transaction=txn, task_id="then").input == {"items": items}


def test_a_condition_is_asked_once_for_all_items(worker: WorkerThread, service: Service) -> None:
    txn = finished(begin(make_flow(each("pay", service, when="params.go")), params={"items": [1], "go": False}))

    assert (txn.status, runs(txn.instance_id)) == ("success", {-1: "skipped"})


@pytest.mark.parametrize(
    ("foreach", "code"), [("$error('no')", "EXPRESSION_FAILED"), ("[1..10001]", "EXPRESSION_TOO_LONG")]
)
def test_a_list_that_cannot_be_made_fails_the_task_and_is_made_anew_on_retry(
    worker: WorkerThread, service: Service, foreach: str, code: str
) -> None:
    txn = finished(begin(make_flow(http("pay", service, foreach=f"params.ok ? [1] : {foreach}"))))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.item, record.error_code, service.calls) == ("failed", -1, code, [])
    operate.retry_exception(record.pk, actor="ada", delay_seconds=0)
    wait_for(lambda: ExceptionRecord.objects.get(pk=record.pk).occurrences == 2)
    finished(txn.instance_id)


def test_an_optional_task_lets_the_flow_go_on_without_the_items_that_failed(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/pay/a", REFUSED)
    then = http("then", service, "pay", input={"all": "${tasks.pay.output}"})

    txn = finished(begin(make_flow(each("pay", service, optional=True), then), params={"items": ["a", "b"]}))

    assert txn.status == "success"
    first, second = service.calls_of("/then")[0].body["all"]
    assert (first, second["status"]) == (None, 200)


def test_approvals_are_given_one_by_one(worker: WorkerThread) -> None:
    approve = {"id": "pay", "type": "approval", "foreach": "params.items"}
    instance_id = begin(make_flow(approve), params={"items": ["a", "b"]})
    wait_for(lambda: TaskRun.objects.filter(waits_for="approval").count() == 2)

    with pytest.raises(IllegalMove, match="no approval"):
        operate.decide_approval(instance_id, "pay", approve=True, actor="ada", roles=None, remark="why")
    for item in (1, 0):
        operate.decide_approval(instance_id, "pay", item=item, approve=True, actor="ada", roles=None, remark="why")

    assert finished(instance_id).status == "success"


def test_cancelling_begins_no_more_items(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/pay")
    flow = make_flow(http("pay", service, foreach="params.items", max_parallel=1))
    instance_id = begin(flow, params={"items": [1, 2, 3]})
    wait_for(lambda: service.in_progress["/pay"] == 1)

    operate.cancel_transaction(instance_id, actor="ada", remark="why")
    gate.set()

    assert finished(instance_id).status == "cancelled"
    assert runs(instance_id) == {-1: "cancelled", 0: "success"}


def test_what_a_dead_worker_left_goes_on_item_by_item(start_worker: Start, service: Service) -> None:
    gate = service.hold("/pay")
    first = start_worker()
    flow = make_flow(http("pay", service, foreach="params.items", max_parallel=2, retry=AUTO))
    instance_id = begin(flow, params={"items": [1, 2, 3, 4]})
    wait_for(lambda: service.in_progress["/pay"] == 2)

    first.drain._on_lease_lost()
    gate.set()
    start_worker()

    assert finished(instance_id).status == "success"
    lost = TaskRun.objects.filter(transaction__instance_id=instance_id, maybe_executed=True)
    assert lost.count() == 2
    assert all(call.headers["x-dist-task-item"] in "0123" for call in service.calls)


def test_a_thousand_items_need_no_more_slots_than_a_transaction_has(worker: WorkerThread, service: Service) -> None:
    flow = make_flow({"id": "pay", "type": "noop", "foreach": "[1..1000]"}, http("then", service, "pay"))

    txn = finished(begin(flow))

    assert (txn.status, len(service.calls)) == ("success", 1)
    assert TaskRun.objects.filter(transaction=txn, task_id="pay", status="success").count() == 1001
