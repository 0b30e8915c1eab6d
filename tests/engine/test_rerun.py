"""An ended transaction is run again from one of its tasks on, as a transaction of its own."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.engine import operate
from dist_task.errors import Conflict, IllegalMove, InvalidRequest, NotFound
from dist_task.models import ExecutionLog, TaskRun
from dist_task.problems import InvalidValue
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, paths, undoable
from .test_foreach import each
from .test_subflow import sub
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

REFUSED = Answer(400, body={"code": "NO_STOCK"})
PAID = Answer(body={"receipt": "paid"})
WHY = {"actor": "ann", "remark": "the price was wrong"}


def chain(service: Service) -> list[dict[str, Any]]:
    """order -> pay -> ship, each looking at what the one before gave; the first two can be undone."""
    service.answer("/order", *[Answer(body={"no": 7})] * 2)
    pay = undoable("pay", service, "order", input={"order": "${tasks.order.output.no}"})
    ship = http("ship", service, "pay", input={"receipt": "${tasks.pay.output.receipt}"})
    return [undoable("order", service), pay, ship]


@pytest.fixture
def shipped(worker: WorkerThread, service: Service) -> Transaction:
    """A chain that has succeeded."""
    service.answer("/pay", Answer(body={"receipt": "first"}), Answer(body={"receipt": "second"}))
    return finished(begin(make_flow(*chain(service))))


def again(txn: Transaction, **given: Any) -> Transaction:
    return operate.rerun_transaction(txn.instance_id, **{**WHY, **given})


def keys(service: Service, path: str) -> list[str]:
    return [call.headers["idempotency-key"] for call in service.calls_of(path)]


# What it does.


def test_the_task_and_what_depends_on_it_run_again_and_the_rest_is_carried_over(
    shipped: Transaction, service: Service
) -> None:
    new = finished(again(shipped, tasks=["pay"], force=True).instance_id)

    assert (new.instance_id, new.status) == (f"{shipped.instance_id}:r2", "success")
    assert statuses(new.instance_id) == {"order": "skipped", "pay": "success", "ship": "success"}
    assert paths(service) == ["/order", "/pay", "/ship", "/pay", "/ship"]
    assert service.calls_of("/pay")[1].body == {"order": 7}, "what the first one gave"
    assert service.calls_of("/ship")[1].body == {"receipt": "second"}


def test_services_see_other_idempotency_keys_so_that_they_do_the_work(shipped: Transaction, service: Service) -> None:
    finished(again(shipped, tasks=["pay"], force=True).instance_id)

    assert len(set(keys(service, "/pay"))) == 2
    assert [call.headers["x-dist-task-instance"] for call in service.calls_of("/pay")] == [
        shipped.instance_id,
        f"{shipped.instance_id}:r2",
    ]


def test_the_first_one_stays_as_it_was(shipped: Transaction, service: Service) -> None:
    before = list(TaskRun.objects.filter(transaction=shipped).values())

    finished(again(shipped, tasks=["pay"], force=True).instance_id)

    assert list(TaskRun.objects.filter(transaction=shipped).values()) == before
    assert stored(shipped.instance_id).status == "success"


def test_without_a_task_all_of_it_runs_again(shipped: Transaction, service: Service) -> None:
    new = finished(again(shipped, force=True, new_id="once_more").instance_id)

    assert (new.instance_id, new.params) == ("once_more", shipped.params)
    assert paths(service).count("/order") == 2


def test_a_failed_one_goes_on_in_the_new_one_and_its_exception_is_handled(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/pay", REFUSED, PAID)
    failed = finished(begin(make_flow(*chain(service))))

    new = finished(again(failed, tasks=["pay"]).instance_id)

    assert new.status == "success", "what has done nothing needs no force"
    record = ExceptionRecord.objects.get()
    assert (record.status, record.resolution, record.handled_by, record.remark) == (
        "handled",
        "rerun",
        "ann",
        "the price was wrong",
    )


def test_both_logs_say_who_and_why_and_what_is_carried_over(shipped: Transaction) -> None:
    new = again(shipped, tasks=["pay"], force=True)

    for txn, other in ((shipped, {"as": new.instance_id}), (new, {"of": shipped.instance_id})):
        entry = ExecutionLog.objects.get(transaction=txn, event="rerun")
        assert (entry.actor, entry.message) == ("ann", "the price was wrong")
        assert entry.detail.items() >= {**other, "tasks": ["pay"], "done_again": ["pay", "ship"]}.items()
    carried = ExecutionLog.objects.get(transaction=new, event="carried_over")
    assert (carried.task_id, carried.message) == ("order", f"from {shipped.instance_id}")


def test_what_items_gave_is_carried_over_as_their_list(worker: WorkerThread, service: Service) -> None:
    for item in "ab":
        service.answer(f"/pick/{item}", Answer(body={"picked": item}))
    then = http("then", service, "pick", input={"all": "${tasks.pick.output}"})
    txn = finished(begin(make_flow(each("pick", service), then), params={"items": ["a", "b"]}))

    finished(again(txn, tasks=["then"], force=True).instance_id)

    first, second = service.calls_of("/then")
    assert second.body == first.body
    assert [one["body"] for one in second.body["all"]] == [{"picked": "a"}, {"picked": "b"}]


def test_a_chain_of_reruns_carries_over_what_was_carried_over(shipped: Transaction, service: Service) -> None:
    second = finished(again(shipped, tasks=["pay"], force=True).instance_id)

    third = finished(again(second, tasks=["ship"], force=True).instance_id)

    assert third.instance_id == f"{shipped.instance_id}:r3"
    assert statuses(third.instance_id) == {"order": "skipped", "pay": "skipped", "ship": "success"}
    assert service.calls_of("/ship")[-1].body == {"receipt": "second"}


def test_a_cancelled_one_runs_what_it_never_began(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/order")
    service.answer("/pay", PAID)
    instance_id = begin(make_flow(*chain(service)))
    wait_for(lambda: service.began_count["/order"])
    operate.cancel_transaction(instance_id, actor="ann", remark="why")
    gate.set()

    new = finished(again(finished(instance_id), tasks=["pay"]).instance_id)

    assert statuses(new.instance_id) == {"order": "skipped", "pay": "success", "ship": "success"}


def test_a_subflow_that_is_carried_over_is_not_started_again(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(http("pack", service))
    txn = finished(begin(make_flow(sub("sub", packing), http("then", service, "sub"))))

    new = finished(again(txn, tasks=["then"], force=True).instance_id)

    assert not Transaction.objects.filter(parent=new).exists()
    assert paths(service) == ["/pack", "/then", "/then"]


def test_a_subflow_that_runs_again_starts_another_transaction(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(http("pack", service))
    txn = finished(begin(make_flow(sub("sub", packing))))

    new = finished(again(txn, force=True).instance_id)

    assert Transaction.objects.get(parent=new).instance_id == f"{txn.instance_id}:r2.sub"


def test_undoing_looks_at_what_was_carried_over(worker: WorkerThread, service: Service) -> None:
    order, pay, _ship = chain(service)
    pay["compensate"]["input"] = {"order": "${tasks.order.output.no}"}
    last = undoable("last", service, "pay", "pick")
    last["compensate"]["input"] = {"all": "${tasks.pick.output}"}
    for item in "ab":
        service.answer(f"/pick/{item}", Answer(body={"picked": item}))
    txn = finished(begin(make_flow(order, pay, each("pick", service), last), params={"items": ["a", "b"]}))
    second = finished(again(txn, tasks=["last"], force=True).instance_id)
    third = finished(again(second, tasks=["pay"], force=True).instance_id)

    operate.compensate_transaction(third.instance_id, actor="ann", remark="why")

    assert compensated(third.instance_id) == "done"
    assert service.calls_of("/undo-pay")[0].body == {"order": 7}
    assert [one["picked"] for one in service.calls_of("/undo-last")[0].body["all"]] == ["a", "b"]


def test_no_items_are_carried_over_as_none(worker: WorkerThread, service: Service) -> None:
    then = http("then", service, "pick", input={"all": "${tasks.pick.output}"})
    txn = finished(begin(make_flow(each("pick", service), then), params={"items": []}))

    with pytest.raises(IllegalMove, match=r"^then may have done"):
        again(txn)
    finished(again(txn, tasks=["then"], force=True).instance_id)

    assert [call.body for call in service.calls_of("/then")] == [{"all": []}] * 2


def test_an_inactive_flow_is_no_obstacle(shipped: Transaction) -> None:
    type(shipped.flow).objects.filter(pk=shipped.flow_id).update(is_active=False)

    assert finished(again(shipped, tasks=["ship"], force=True).instance_id).status == "success"


# Undoing.


def test_each_undoes_what_it_has_done_itself_the_last_one_first(shipped: Transaction, service: Service) -> None:
    new = finished(again(shipped, tasks=["pay"], force=True).instance_id)
    with pytest.raises(IllegalMove, match=f"run again as {new.instance_id}, which stands on it"):
        operate.compensate_transaction(shipped.instance_id, actor="ann", remark="why")
    service.calls.clear()

    operate.compensate_transaction(new.instance_id, actor="ann", remark="why")
    compensated(new.instance_id)
    operate.compensate_transaction(shipped.instance_id, actor="ann", remark="why")
    compensated(shipped.instance_id)

    assert paths(service) == ["/undo-pay", "/undo-pay", "/undo-order"]


def test_what_was_undone_can_be_run_again_from_its_beginning(shipped: Transaction, service: Service) -> None:
    operate.compensate_transaction(shipped.instance_id, actor="ann", remark="why")
    compensated(shipped.instance_id)

    with pytest.raises(IllegalMove, match="only be run again from its beginning"):
        again(shipped, tasks=["pay"])
    with pytest.raises(IllegalMove, match=r"^ship may have done their work"):
        again(shipped)
    new = finished(again(shipped, force=True).instance_id)

    assert statuses(new.instance_id) == {"order": "success", "pay": "success", "ship": "success"}


# What is refused.


def test_what_has_done_its_work_is_done_again_only_by_force(shipped: Transaction, service: Service) -> None:
    with pytest.raises(IllegalMove, match=r"^pay, ship may have done their work, and would do it again"):
        again(shipped, tasks=["pay"])

    assert Transaction.objects.count() == 1


def test_another_branch_that_failed_has_to_be_named(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", REFUSED)
    service.answer("/b", REFUSED)
    failed = finished(begin(make_flow(http("a", service), http("b", service), http("c", service, "a", "b"))))

    with pytest.raises(IllegalMove, match=r"^b did not succeed either"):
        again(failed, tasks=["a"])

    assert finished(again(failed, tasks=["a", "b"]).instance_id).status == "success"


def test_one_that_has_not_ended_is_refused(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/order")
    instance_id = begin(make_flow(*chain(service)))
    wait_for(lambda: service.began_count["/order"])

    with pytest.raises(IllegalMove, match="cannot be run again now"):
        again(stored(instance_id))
    gate.set()
    finished(instance_id)


def test_a_child_is_run_again_by_its_parent(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(http("pack", service))
    finished(begin(make_flow(sub("sub", packing))))

    with pytest.raises(IllegalMove, match="was started by another transaction"):
        again(Transaction.objects.get(parent__isnull=False), force=True)


def test_one_whose_child_has_been_retried_waits_for_that(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(http("pack", service))
    service.answer("/pack", REFUSED)
    txn = finished(begin(make_flow(sub("sub", packing))))
    child = Transaction.objects.get(parent=txn)
    gate = service.hold("/pack")
    operate.retry_transaction(child.instance_id, actor="ann")

    with pytest.raises(IllegalMove, match=f"{child.instance_id}, which {txn.instance_id} has started, has not ended"):
        again(txn)
    gate.set()
    finished(txn.instance_id)
    wait_for(lambda: stored(txn.instance_id).status == "success")


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"remark": " "}, InvalidRequest, "say why"),
        ({"tasks": ["nobody"]}, InvalidValue, r"tasks\[0\]"),
        ({"tasks": ["pay", "\0"]}, InvalidValue, r"tasks\[1\]"),
        ({"new_id": "a b"}, InvalidRequest, "whitespace"),
        ({"new_id": "batch"}, InvalidRequest, "must not be"),
        ({"new_id": "x" * 65}, InvalidRequest, "64"),
    ],
)
def test_what_makes_no_sense_is_refused(shipped: Transaction, given: Any, error: Any, says: str) -> None:
    with pytest.raises(error, match=says):
        again(shipped, force=True, **given)

    assert Transaction.objects.count() == 1


def test_a_name_that_is_taken_is_refused(shipped: Transaction) -> None:
    with pytest.raises(Conflict, match="is taken"):
        again(shipped, new_id=shipped.instance_id, force=True)


def test_a_name_of_ours_that_somebody_has_taken_is_passed_over(shipped: Transaction) -> None:
    begin(shipped.flow, instance_id=f"{shipped.instance_id}:r2")

    assert again(shipped, tasks=["ship"], force=True).instance_id == f"{shipped.instance_id}:r3"


@pytest.mark.django_db
def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(NotFound):
        operate.rerun_transaction("nobody", **WHY)
    with pytest.raises(NotFound):
        operate.plan_rerun("nobody")


def test_what_one_before_has_done_is_not_done_again_unasked(shipped: Transaction, service: Service) -> None:
    second = finished(again(shipped, tasks=["ship"], force=True).instance_id)

    with pytest.raises(IllegalMove, match=r"^order, pay, ship may have done their work"):
        again(second)
    operate.compensate_transaction(second.instance_id, actor="ann", remark="why")
    compensated(second.instance_id)
    with pytest.raises(IllegalMove, match=r"^order, pay, ship may have done their work"):
        again(second)

    operate.compensate_transaction(shipped.instance_id, actor="ann", remark="why")
    compensated(shipped.instance_id)
    with pytest.raises(IllegalMove, match=r"^ship may have done their work"):
        again(second)


def test_what_was_passed_over_while_undoing_is_not_done_again_unasked(worker: WorkerThread, service: Service) -> None:
    service.answer("/undo-a", REFUSED)
    txn = finished(begin(make_flow(undoable("a", service), undoable("b", service))))
    operate.compensate_transaction(txn.instance_id, actor="ann", remark="why")
    assert compensated(txn.instance_id) == "failed"
    operate.skip_run(ExceptionRecord.objects.get().pk, force=True, **WHY)
    wait_for(lambda: stored(txn.instance_id).compensation == "done")

    with pytest.raises(IllegalMove, match=r"^a may have done their work"):
        again(txn)


def test_an_item_that_was_passed_over_while_undoing_is_not_done_again_unasked(
    worker: WorkerThread, service: Service
) -> None:
    undo = {"config": {"url": service.url("/undo/${index}")}, "retry": {"strategy": "no_retry"}}
    service.answer("/undo/1", REFUSED)
    txn = finished(begin(make_flow(each("pick", service, compensate=undo)), params={"items": ["a", "b"]}))
    operate.compensate_transaction(txn.instance_id, actor="ann", remark="why")
    assert compensated(txn.instance_id) == "failed"
    operate.skip_run(ExceptionRecord.objects.get(item=1).pk, force=True, **WHY)
    wait_for(lambda: stored(txn.instance_id).compensation == "done")

    with pytest.raises(IllegalMove, match=r"^pick may have done their work"):
        again(txn)


def test_what_a_child_gave_is_not_carried_over_once_that_was_undone(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(undoable("pack", service))
    txn = finished(begin(make_flow(sub("sub", packing), http("then", service, "sub"))))
    child = Transaction.objects.get(parent=txn)
    operate.compensate_transaction(child.instance_id, actor="ann", remark="why")
    compensated(child.instance_id)

    with pytest.raises(IllegalMove, match=r"^what sub has started was undone"):
        again(txn, tasks=["then"], force=True)

    assert finished(again(txn, tasks=["sub"], force=True).instance_id).status == "success"


def test_a_child_that_another_one_stands_on_is_undone_after_that(worker: WorkerThread, service: Service) -> None:
    deep = make_flow(undoable("pack", service))
    middle = make_flow(sub("deep", deep))
    txn = finished(begin(make_flow(sub("sub", middle, compensate={}), http("then", service, "sub"))))
    new = finished(again(txn, tasks=["then"], force=True).instance_id)
    child = Transaction.objects.get(parent=txn)
    for below in (child, Transaction.objects.get(parent=child)):
        with pytest.raises(IllegalMove, match=f"run again as {new.instance_id}, which stands on it"):
            operate.compensate_transaction(below.instance_id, actor="ann", remark="why")

    operate.compensate_transaction(new.instance_id, actor="ann", remark="why")
    compensated(new.instance_id)
    operate.compensate_transaction(txn.instance_id, actor="ann", remark="why")

    assert compensated(txn.instance_id) == "done"
    assert stored(child.instance_id).compensation == "done"


def test_what_an_optional_fan_gave_before_some_items_failed_is_carried_over(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/pick/a", Answer(body={"picked": "a"}))
    service.answer("/pick/b", REFUSED)
    then = http("then", service, "pick", input={"all": "${tasks.pick.output}"})
    txn = finished(begin(make_flow(each("pick", service, optional=True), then), params={"items": ["a", "b"]}))

    finished(again(txn, tasks=["then"], force=True).instance_id)

    first, second = service.calls_of("/then")
    assert [one and one["body"] for one in first.body["all"]] == [{"picked": "a"}, None]
    assert second.body == first.body
