"""Channels that lead to servers of the test, and the few words that these tests are written in."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from dist_task.alerts.models import AlertRule, Channel, Delivery, Subscription
from dist_task.engine.alerts import courier, judge
from dist_task.engine.store import deliveries
from dist_task.engine.store.deliveries import Ended, Taken
from dist_task.executors.outbound import OUTBOUND
from dist_task.executors.secrets import SECRETS

from .receiver import Receiver

KEY = bytes(range(32))
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
SECRET_VALUES = {"SIGNING": WHSEC, "DING": "SECding-dong", "FEISHU": "fei-shu-fei-shu", "HOOK": "T0/B0/sesame"}


@pytest.fixture(autouse=True)
def _secrets() -> Iterator[None]:
    SECRETS.put(SECRET_VALUES)
    yield
    SECRETS.put({})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def webhook(receiver: Receiver, *, name: str = "ops", **values: Any) -> Channel:
    return Channel.objects.create(
        **{"name": name, "kind": "webhook", "url": receiver.url(), "secret": "SIGNING", **values}
    )


def rule(*channels: Channel, **values: Any) -> AlertRule:
    made = AlertRule.objects.create(**{"name": "many", "kind": "exceptions", "calm_seconds": 0, **values})
    made.channels.set(channels)
    return made


def subscription(channel: Channel, **values: Any) -> Subscription:
    return Subscription.objects.create(channel=channel, **values)


def look() -> None:
    """Every rule is judged once."""
    AlertRule.objects.update(checked_at=F("checked_at") - timedelta(days=1))
    with connection.cursor() as cursor:
        while judge.judge_next(cursor):
            pass


def deliver() -> list[Ended]:
    """All that is due, once; in the order of the ids."""
    with connection.cursor() as cursor:
        taken = sorted(deliveries.take(cursor, busy=()))
        ends = [asyncio.run(_attempt(each)) for each in taken]
        for each, ended in zip(taken, ends, strict=True):
            deliveries.record(cursor, taken=each, ended=ended)
    return ends


async def _attempt(taken: Taken) -> Ended:
    try:
        return await courier.attempt(taken)
    finally:
        await OUTBOUND.close()


def make_due(**which: Any) -> None:
    """Time passes until the next attempt."""
    Delivery.objects.filter(due_at__isnull=False, **which).update(due_at=F("created_at") - timedelta(days=1))


def states() -> list[tuple[str, str]]:
    return list(Delivery.objects.order_by("id").values_list("event", "status"))
