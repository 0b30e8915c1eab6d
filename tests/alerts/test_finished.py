"""Webhooks for finished transactions: one for each end, written with it, lost by nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from dist_task.alerts.models import Channel, Delivery
from dist_task.database import connect
from dist_task.engine.operate import cancel_transaction, retry_transaction
from dist_task.engine.store import batch, deliveries
from flows.models import Flow
from tests.commands import rows
from tests.engine.conftest import begin, finished, make_flow, start_worker
from tests.engine.worker import WorkerThread, wait_for
from transactions.models import Transaction

from .conftest import WHSEC, deliver, make_due, subscription, webhook
from .lookouts import LookoutThread, lookout
from .receiver import Receiver

__all__ = ["lookout", "start_worker"]  # fixtures


@pytest.fixture
def flow(db: None) -> Flow:
    return rows.make_flow()


def events() -> list[tuple[str, str]]:
    return list(Delivery.objects.order_by("id").values_list("subject", "event"))


@pytest.mark.django_db
def test_without_a_subscription_nothing_is_written(flow: Flow, receiver: Receiver) -> None:
    webhook(receiver)
    rows.succeed_one("a", flow=flow)

    assert events() == []


@pytest.mark.django_db
def test_each_end_is_told_once_with_what_a_receiver_needs(flow: Flow, receiver: Receiver) -> None:
    subscription(webhook(receiver))
    rows.succeed_one("good", flow=flow)
    rows.fail_one("bad", flow=flow)
    rows.start_one("stopped", flow=flow)
    cancel_transaction("stopped", actor="ada", remark="why")

    assert events() == [
        ("good", "transaction.success"),
        ("bad", "transaction.failed"),
        ("stopped", "transaction.cancelled"),
    ]
    deliver()
    data = json.loads(receiver.got[0].raw)["data"]
    txn = Transaction.objects.get(instance_id="good")
    assert data == {
        "instance_id": "good",
        "flow_id": flow.pk,
        "flow_name": "orders",
        "flow_version": 1,
        "status": "success",
        "compensation": "none",
        "created_at": f"{txn.created_at:%Y-%m-%dT%H:%M:%S.}{txn.created_at.microsecond // 1000:03}Z",
        "completed_at": f"{txn.completed_at:%Y-%m-%dT%H:%M:%S.}{txn.completed_at.microsecond // 1000:03}Z",
    }


@pytest.mark.django_db
def test_a_transaction_that_fails_twice_ends_twice_and_a_cancel_after_it_as_well(
    flow: Flow, receiver: Receiver
) -> None:
    subscription(webhook(receiver))
    rows.fail_one("a", flow=flow)
    retry_transaction("a", actor="ada")
    again = batch.Ended("pay", 2, "failed", "failed", outcome="terminal", task_name="Pay")
    rows.attempt("a", ended=again, finish="failed")
    cancel_transaction("a", actor="ada", remark="why")

    assert [event for _subject, event in events()] == [
        "transaction.failed",
        "transaction.failed",
        "transaction.cancelled",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"flow_name": "orders"}, 2),
        ({"flow_name": "others"}, 0),
        ({"on_success": False}, 1),
        ({"on_failed": False}, 1),
        ({"is_active": False}, 0),
    ],
)
def test_a_subscription_says_which(flow: Flow, receiver: Receiver, values: dict[str, Any], expected: int) -> None:
    subscription(webhook(receiver), **values)
    rows.succeed_one("good", flow=flow)
    rows.fail_one("bad", flow=flow)

    assert len(events()) == expected


@pytest.mark.django_db
def test_two_subscriptions_of_one_channel_are_one_webhook(flow: Flow, receiver: Receiver) -> None:
    channel = webhook(receiver)
    subscription(channel)
    subscription(channel, flow_name="orders")
    subscription(webhook(receiver, name="off", is_active=False))
    rows.succeed_one("good", flow=flow)

    assert len(events()) == 1


@pytest.mark.django_db(transaction=True)
def test_what_is_committed_late_is_not_passed_over(flow: Flow, receiver: Receiver) -> None:
    """The first to end is the last to commit: its row has the smallest id and time of all, and comes after them."""
    subscription(webhook(receiver))
    for name in ("late", "early"):
        rows.start_one(name, flow=flow)
    late = connect()
    with late.cursor() as cursor:
        _end(cursor, name="late")
    with connection.cursor() as cursor:
        _end(cursor, name="early")
    deliver()
    assert [json.loads(got.raw)["data"]["instance_id"] for got in receiver.got] == ["early"]

    late.commit()
    late.close()
    deliver()

    assert [json.loads(got.raw)["data"]["instance_id"] for got in receiver.got] == ["early", "late"]
    assert events()[0][0] == "late"


@pytest.mark.django_db(transaction=True)
def test_an_end_that_is_rolled_back_is_not_told(flow: Flow, receiver: Receiver) -> None:
    subscription(webhook(receiver))
    rows.start_one("a", flow=flow)
    other = connect()
    with other.cursor() as cursor:
        _end(cursor, name="a")
    other.rollback()
    other.close()

    assert events() == []


def _end(cursor: Any, *, name: str) -> None:
    """As a worker's statement does."""
    cursor.execute(
        "UPDATE transactions_transaction SET status = 'success', completed_at = statement_timestamp(), owner = NULL,"
        " wake_at = NULL WHERE instance_id = %s",
        (name,),
    )


def test_nothing_is_lost_or_sent_twice_by_several_workers_and_deliverers_at_once(
    receiver: Receiver,
    start_worker: Callable[[], WorkerThread],
    lookout: Callable[[], LookoutThread],
    monkeypatch: Any,
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_SIGNING", WHSEC)
    subscription(webhook(receiver))
    flow = make_flow({"id": "a", "type": "noop"})
    for _worker in range(2):
        start_worker()
        lookout()

    names = [begin(flow) for _each in range(60)]
    for name in names:
        assert finished(name).status == "success"
    wait_for(lambda: Delivery.objects.filter(status="delivered").count() == len(names))

    told = Counter(json.loads(got.raw)["data"]["instance_id"] for got in receiver.got)
    assert told == Counter(names)
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


def test_a_deliverer_that_dies_in_the_middle_loses_nothing(
    receiver: Receiver, lookout: Callable[[], LookoutThread], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_SIGNING", WHSEC)
    subscription(webhook(receiver))
    flow = rows.make_flow()
    names = [f"t{n}" for n in range(5)]
    for name in names:
        rows.succeed_one(name, flow=flow)
    receiver.hold()
    first = lookout()
    wait_for(lambda: len(receiver.got) == len(names))
    first.stop()
    assert receiver.gate is not None
    receiver.gate.set()
    assert Delivery.objects.filter(status="delivered").count() == 0

    make_due()
    lookout()
    wait_for(lambda: Delivery.objects.filter(status="delivered").count() == len(names))

    ids = Counter(got.headers["webhook-id"] for got in receiver.got)
    assert len(ids) == len(names)
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {2}


def test_a_channel_that_hangs_delays_no_other(
    receiver: Receiver, lookout: Callable[[], LookoutThread], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_SIGNING", WHSEC)
    hanging = Receiver()
    hanging.hold()
    for name, where in (("hangs", hanging), ("works", receiver)):
        subscription(webhook(where, name=name))
    flow = rows.make_flow()
    rows.succeed_one("a", flow=flow)
    lookout()
    wait_for(lambda: len(hanging.got) == 1)

    for n in range(3):
        rows.succeed_one(f"b{n}", flow=flow)
    wait_for(lambda: Delivery.objects.filter(channel__name="works", status="delivered").count() == 4)

    assert Delivery.objects.filter(channel__name="hangs", status="delivered").count() == 0
    hanging.close()


@pytest.mark.django_db
def test_many_that_end_at_once_are_taken_in_the_order_they_are_due(flow: Flow, receiver: Receiver) -> None:
    subscription(webhook(receiver))
    for n in range(deliveries.MOST_PER_CHANNEL + 1):
        rows.succeed_one(f"t{n}", flow=flow)

    with connection.cursor() as cursor:
        first, rest = deliveries.take(cursor, busy=()), deliveries.take(cursor, busy=())

    assert max(each.id for each in first) < rest[0].id
    assert Channel.objects.count() == 1
