"""What becomes of a delivery: attempts, pauses, the end; and where nothing is ever sent."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from dist_task.alerts import schedule
from dist_task.alerts.models import ATTEMPTS, Channel, Delivery
from dist_task.engine.alerts import courier, verbs
from dist_task.engine.store import deliveries

from .conftest import KEY, SECRET_VALUES, deliver, make_due, states, webhook
from .receiver import Got, Receiver

pytestmark = pytest.mark.django_db


def sent_test(channel: Channel) -> Delivery:
    return verbs.send_test(channel.pk, actor="ada")


def signature_of(got: Got) -> str:
    signed = b".".join([got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.raw])
    return "v1," + base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()


def test_a_webhook_arrives_signed(receiver: Receiver) -> None:
    delivery = sent_test(webhook(receiver))

    deliver()

    (got,) = receiver.got
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("delivered", 1, 200)
    assert got.headers["webhook-id"] == f"msg_{delivery.message_id}"
    assert got.headers["webhook-signature"] == signature_of(got)
    assert got.headers["content-type"] == "application/json"
    assert json.loads(got.raw)["data"]["sent_by"] == "ada"


def test_a_delivery_is_tried_again_under_the_same_id_with_the_same_body(receiver: Receiver) -> None:
    receiver.answer(500, b"busy")
    receiver.answer(0)
    delivery = sent_test(webhook(receiver))

    for _attempt in range(3):
        deliver()
        make_due()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.last_error) == ("delivered", 3, "")
    assert len({(got.headers["webhook-id"], got.raw) for got in receiver.got}) == 1
    assert all(got.headers["webhook-signature"] == signature_of(got) for got in receiver.got)
    log = [(entry.event, entry.attempt, entry.response_status) for entry in delivery.log.all()]
    assert log == [("tested", 0, None), ("failed", 1, 500), ("failed", 2, None), ("delivered", 3, 200)]


def test_the_pauses_are_those_that_the_standard_suggests(receiver: Receiver) -> None:
    receiver.answer(500)
    delivery = sent_test(webhook(receiver))

    (ended,) = deliver()

    assert ended.delay_seconds is not None
    assert 5 <= ended.delay_seconds <= 6
    delivery.refresh_from_db()
    assert delivery.due_at is not None
    assert delivery.due_at > timezone.now()
    assert deliver() == []


@pytest.mark.parametrize(("attempt", "seconds"), [(0, 5), (1, 5), (2, 300), (4, 7_200), (10, 86_400), (99, 86_400)])
def test_the_schedule(attempt: int, seconds: int) -> None:
    assert schedule.delay_seconds(attempt=attempt, random=0.0) == seconds
    assert schedule.delay_seconds(attempt=attempt, random=1.0) == pytest.approx(seconds * 1.2)


def test_a_delivery_is_given_up_after_its_last_attempt(receiver: Receiver) -> None:
    delivery = sent_test(webhook(receiver))

    for _attempt in range(ATTEMPTS + 1):
        receiver.answer(503)
        deliver()
        make_due()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == ("given_up", ATTEMPTS)
    assert delivery.last_error == "the answer was HTTP 503"
    assert len(receiver.got) == ATTEMPTS


def test_a_receiver_that_is_gone_switches_its_channel_off(receiver: Receiver) -> None:
    receiver.answer(410)
    channel = webhook(receiver)
    first, second = sent_test(channel), sent_test(channel)
    Delivery.objects.filter(pk=second.pk).update(due_at=timezone.now() + timedelta(hours=1))

    deliver()

    channel.refresh_from_db()
    first.refresh_from_db()
    assert not channel.is_active
    assert "410" in channel.why_inactive
    assert first.status == "given_up"
    with connection.cursor() as cursor:
        assert deliveries.give_up_of_inactive(cursor, reason="off") == 1
    second.refresh_from_db()
    assert (second.status, second.last_error, second.attempts) == ("given_up", "off", 0)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer(307, Location=receiver.url("/elsewhere"))
    delivery = sent_test(webhook(receiver))

    deliver()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.response_status) == ("retrying", 307)
    assert [got.path for got in receiver.got] == ["/hook"]


def test_a_receiver_that_hangs_is_given_its_time_and_no_more(receiver: Receiver, monkeypatch: Any) -> None:
    monkeypatch.setattr(courier, "TIMEOUT_SECONDS", 0.2)
    receiver.hold()
    delivery = sent_test(webhook(receiver))

    deliver()

    delivery.refresh_from_db()
    assert delivery.status == "retrying"
    assert delivery.last_error.startswith("TIMEOUT")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ALLOW_PRIVATE_TARGETS": False}, "FORBIDDEN_ADDRESS"),
        ({"ALLOWED_HOSTS_OUT": ("hooks.example",)}, "FORBIDDEN_HOST"),
    ],
)
def test_what_the_deployment_forbids_is_not_called(
    receiver: Receiver, settings: Any, change: dict[str, Any], code: str
) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, **change}
    delivery = sent_test(webhook(receiver))

    deliver()

    delivery.refresh_from_db()
    assert delivery.status == "given_up"
    assert delivery.last_error.startswith(code)
    assert receiver.got == []


def test_addresses_where_clouds_keep_credentials_are_never_called(receiver: Receiver) -> None:
    delivery = sent_test(webhook(receiver, url="http://169.254.169.254/latest"))

    deliver()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.last_error.split(":")[0]) == ("given_up", "FORBIDDEN_ADDRESS")


def test_a_secret_that_is_missing_waits_for_somebody_to_set_it(receiver: Receiver) -> None:
    delivery = sent_test(webhook(receiver, secret="LATER"))

    deliver()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.last_error.split(":")[0]) == ("retrying", "NO_SECRET")
    assert receiver.got == []


def test_what_comes_back_is_masked_and_cut(receiver: Receiver) -> None:
    receiver.answer(500, f"you sent {SECRET_VALUES['SIGNING']}\0".encode() + b"x" * 100_000)
    delivery = sent_test(webhook(receiver))

    deliver()

    delivery.refresh_from_db()
    assert SECRET_VALUES["SIGNING"] not in delivery.response
    assert delivery.response.startswith("you sent ***")
    assert len(delivery.response) <= courier.LONGEST_RESPONSE


def test_a_secret_in_the_address_is_shown_nowhere(receiver: Receiver) -> None:
    channel = webhook(receiver, kind="slack", secret="", url=receiver.url("/services/${secrets.HOOK}"))
    receiver.answer(404, b"no /services/T0/B0/sesame here")
    delivery = sent_test(channel)

    deliver()

    assert receiver.got[0].path == "/services/T0/B0/sesame"
    delivery.refresh_from_db()
    assert "sesame" not in delivery.response + delivery.last_error + "".join(
        each.response for each in delivery.log.all()
    )


@pytest.mark.parametrize(
    ("kind", "answer"), [("wecom", b'{"errcode":0}'), ("dingtalk", b'{"errcode":0}'), ("feishu", b'{"code":0}')]
)
def test_a_chat_that_refuses_with_200_is_asked_again(receiver: Receiver, kind: str, answer: bytes) -> None:
    receiver.answer(200, b'{"errcode":45009,"code":11232,"msg":"too many","errmsg":"too many"}')
    receiver.body = answer
    secret = "" if kind == "wecom" else "DING"
    delivery = sent_test(webhook(receiver, kind=kind, secret=secret, url=receiver.url("/${secrets.HOOK}")))

    deliver()
    delivery.refresh_from_db()
    assert delivery.status == "retrying"
    assert "too many" in delivery.last_error

    make_due()
    deliver()
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_what_a_killed_deliverer_had_taken_is_due_again_and_counted(receiver: Receiver) -> None:
    delivery = sent_test(webhook(receiver))
    with connection.cursor() as cursor:
        (taken,) = deliveries.take(cursor, busy=())
        assert deliveries.take(cursor, busy=()) == []
    asyncio.run(courier.attempt(taken))  # it was sent, and then its deliverer died

    Delivery.objects.update(due_at=F("due_at") - timedelta(seconds=deliveries.HIDDEN_SECONDS))
    deliver()

    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == ("delivered", 2)
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len(receiver.got) == 2


def test_the_end_of_an_attempt_that_somebody_else_repeats_changes_nothing(receiver: Receiver) -> None:
    delivery = sent_test(webhook(receiver))
    with connection.cursor() as cursor:
        (late,) = deliveries.take(cursor, busy=())
        make_due()
        (taken,) = deliveries.take(cursor, busy=())
        deliveries.record(cursor, taken=late, ended=deliveries.Ended(error="late"))
        delivery.refresh_from_db()
        assert delivery.status == "pending"

        deliveries.record(cursor, taken=taken, ended=deliveries.Ended(response_status=200))

    assert states() == [("test", "delivered")]


def test_a_busy_channel_holds_up_no_other(receiver: Receiver) -> None:
    slow, quick = webhook(receiver, name="slow"), webhook(receiver, name="quick")
    for channel in (slow, slow, quick):
        sent_test(channel)

    with connection.cursor() as cursor:
        taken = deliveries.take(cursor, busy=(slow.pk,))

    assert [each.channel_name for each in taken] == ["quick"]


def test_one_look_takes_a_bounded_number_of_each_channel(receiver: Receiver) -> None:
    for name in ("a", "b"):
        channel = webhook(receiver, name=name)
        for _each in range(deliveries.MOST_PER_CHANNEL + 3):
            sent_test(channel)

    with connection.cursor() as cursor:
        first, second = deliveries.take(cursor, busy=()), deliveries.take(cursor, busy=())

    assert (len(first), len(second)) == (2 * deliveries.MOST_PER_CHANNEL, 6)


def test_what_is_due_is_found_by_an_index(receiver: Receiver) -> None:
    webhook(receiver)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM alerts_delivery WHERE channel_id = 1 AND due_at <= statement_timestamp()"
            " ORDER BY due_at LIMIT 16"
        )
        assert "delivery_due" in str(cursor.fetchall())
