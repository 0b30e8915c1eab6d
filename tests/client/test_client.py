"""What a consumer does with the client, on the real service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dist_task.client import ApiError, Client, Conflict, NotFound, Start, Started
from tests.engine.service import Answer, Service
from tests.house.conftest import until
from tests.house.supervisor import Supervisor
from tests.story.conftest import Client as Owner
from tests.story.conftest import http_task

pytestmark = pytest.mark.cluster


def test_a_start_is_followed_to_its_end(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    flow_id = owner.flow("client", http_task("pay", service))

    started = client.start(order_id, flow_id=flow_id, params={"pay": {"amount": 100}})
    txn = client.wait(order_id, seconds=60)

    assert started == Started(order_id, flow_id, "pending")
    assert (txn.instance_id, txn.status, txn.is_final) == (order_id, "success", True)
    assert [(task.task_id, task.status) for task in txn.tasks] == [("pay", "success")]
    assert txn.params == {"pay": {"amount": 100}}
    assert txn.completed_at and txn.completed_at >= txn.created_at
    assert txn.created_at.tzinfo == UTC


def test_the_same_start_again_is_the_same_transaction(
    client: Client, owner: Owner, service: Service, order_id: str
) -> None:
    flow_id = owner.flow("client", http_task("pay", service))
    client.start(order_id, flow_id=flow_id)
    client.wait(order_id, seconds=60)

    assert client.start(order_id, flow_id=flow_id).status == "success"
    with pytest.raises(Conflict) as caught:
        client.start(order_id, flow_id=flow_id, params={"other": 1})
    assert caught.value.code == 409
    assert caught.value.message in str(caught.value)


def test_many_starts_have_an_outcome_each(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    flow_id = owner.flow("client", http_task("pay", service))
    starts = [Start(f"{order_id}_{number}", flow_id) for number in range(1_002)]

    outcomes = client.start_many([*starts, Start("no id", flow_id), Start("x", "no_flow")])

    assert outcomes[:-2] == [Started(each.instance_id, flow_id, "pending") for each in starts]
    assert [(type(each), each.code) for each in outcomes[-2:] if isinstance(each, ApiError)] == [
        (ApiError, 400),
        (NotFound, 404),
    ]


def test_an_ended_transaction_is_run_again(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    flow_id = owner.flow("client", http_task("pay", service))
    client.start(order_id, flow_id=flow_id)
    client.wait(order_id, seconds=60)

    again = client.rerun(order_id, remark="the price was wrong", tasks=["pay"], force=True)

    assert (again.instance_id, again.rerun_of) == (f"{order_id}:r2", order_id)
    assert client.wait(again.instance_id, seconds=60).status == "success"
    assert client.get(order_id).rerun_as == again.instance_id
    with pytest.raises(ApiError, match="go on there"):
        client.rerun(order_id, remark="once more", force=True)


def test_a_wait_that_is_over_answers_how_it_stands(
    client: Client, owner: Owner, service: Service, order_id: str
) -> None:
    service.hold("/pay")
    client.start(order_id, flow_id=owner.flow("client", http_task("pay", service)))

    txn = client.wait(order_id, seconds=0.2)

    assert not txn.is_final


def test_changes_are_followed(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    gate = service.hold("/ship")
    flow_id = owner.flow("client", http_task("pay", service), http_task("ship", service, "pay"))
    client.start(order_id, flow_id=flow_id)

    seen = []
    for txn in client.follow(order_id, every_seconds=0.1):
        seen.append([task.status for task in txn.tasks])
        if seen[-1] == ["success", "running"]:
            gate.set()

    assert ["success", "running"] in seen
    assert seen[-1] == ["success", "success"]
    assert all(before != after for before, after in zip(seen[1:], seen[2:], strict=False))


def test_a_failed_transaction_is_retried(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    service.answer("/pay", Answer(400))
    client.start(order_id, flow_id=owner.flow("client", http_task("pay", service)))
    assert client.wait(order_id, seconds=60).status == "failed"

    moved = client.retry(order_id, remark="the account is open again")

    assert (moved.instance_id, moved.status) == (order_id, "pending")
    assert client.wait(order_id, seconds=60).status == "success"


def test_an_exception_is_found_and_retried(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    service.answer("/pay", Answer(400, body={"code": "CLOSED"}))
    client.start(order_id, flow_id=owner.flow("client", http_task("pay", service)))
    client.wait(order_id, seconds=60)
    (record,) = client.exceptions(handled=False, instance_id=order_id)
    assert (record.task, record.error_code, record.status) == ("pay", "CLOSED", "open")

    scheduled = client.retry_exception(record.id, delay_seconds=0)

    assert (scheduled.exception_id, scheduled.retry_scheduled) == (record.id, True)
    until(lambda: client.exception(record.id).handled)
    assert client.wait(order_id, seconds=60).status == "success"


def test_an_exception_is_handled_once(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    service.answer("/pay", Answer(400))
    client.start(order_id, flow_id=owner.flow("client", http_task("pay", service)))
    client.wait(order_id, seconds=60)
    (record,) = client.exceptions(instance_id=order_id)

    handled = client.handle(record.id, remark="已退款", resolution="fixed_externally")

    assert (handled.handled, handled.resolution) == (True, "fixed_externally")
    assert client.exception(record.id).remark == "已退款"
    with pytest.raises(ApiError) as caught:
        client.handle(record.id)
    assert caught.value.code == 400


def test_the_verbs_of_operators(client: Client, owner: Owner, service: Service, order_id: str) -> None:
    service.answer("/pay", Answer(400))
    flow_id = owner.flow("client", http_task("pay", service))
    client.start(order_id, flow_id=flow_id)
    client.wait(order_id, seconds=60)
    (record,) = client.exceptions(instance_id=order_id)

    commented = client.comment(record.id, "the bank is asked")
    client.retry_exception(record.id, at=datetime.now(UTC) + timedelta(hours=1), input={"amount": 2})
    paused = client.pause(order_id, remark="the bank is down")
    resumed = client.resume(order_id, remark="the bank is back")
    settled = client.complete(record.id, remark="the bank did it", output={"id": 7})

    assert [(each.remark, each.at.tzinfo) for each in commented.comments] == [("the bank is asked", UTC)]
    assert (paused.paused, resumed.paused) == (True, False)
    assert (settled.task_status, settled.resolution) == ("success", "fixed_externally")
    assert client.wait(order_id, seconds=60).status == "success"
    with pytest.raises(ApiError, match="handled by"):
        client.skip(record.id, remark="too late")
    with pytest.raises(ApiError, match="handled by"):
        client.assign(record.id, "", remark="why")
    with pytest.raises(ApiError, match="waits for its service"):
        client.complete_wait(order_id, "pay", remark="too late")


def test_what_is_wrong_is_said_with_its_place(client: Client) -> None:
    with pytest.raises(NotFound):
        client.get("nobody")
    with pytest.raises(ApiError) as caught:
        client.handle(1, resolution="forgotten")

    assert [error["field"] for error in caught.value.errors] == ["resolution"]


def test_a_token_is_sent(house: Supervisor) -> None:
    with Client(f"http://127.0.0.1:{house.port}", token="nobody's") as client, pytest.raises(ApiError) as caught:
        client.get("order_1")

    assert caught.value.code == 401
