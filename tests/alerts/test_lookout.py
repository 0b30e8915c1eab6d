"""Whoever lives looks; and however many do, a transition is told once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from dist_task.alerts.models import AlertRule, Delivery
from dist_task.database import connect
from dist_task.engine.alerts import judge, verbs
from dist_task.engine.store import deliveries
from dist_task.models import Worker
from tests.commands import rows
from tests.engine.conftest import start_worker
from tests.engine.worker import WorkerThread, wait_for

from .conftest import WHSEC, rule, webhook
from .lookouts import LookoutThread, lookout
from .receiver import Receiver

PAUSE = timedelta(seconds=judge.EVERY_SECONDS * 2)
__all__ = ["lookout", "start_worker"]  # fixtures


def test_that_nothing_runs_is_told_where_no_worker_lives(
    receiver: Receiver, lookout: Callable[[], LookoutThread], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_SIGNING", WHSEC)
    rule(webhook(receiver), name="dead", kind="nothing_runs")
    AlertRule.objects.update(checked_at=F("checked_at") - PAUSE)
    assert Worker.objects.count() == 0

    lookout()
    wait_for(lambda: receiver.got)

    told = json.loads(receiver.got[0].raw)
    assert told["type"] == "alert.firing"
    assert told["data"]["rule"] == "dead"


def test_a_worker_judges_and_tells(
    receiver: Receiver, start_worker: Callable[[], WorkerThread], monkeypatch: Any
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_SIGNING", WHSEC)
    rows.fail_one("a", flow=rows.make_flow())
    Worker.objects.all().delete()
    rule(webhook(receiver))
    AlertRule.objects.update(checked_at=F("checked_at") - PAUSE)

    start_worker()
    wait_for(lambda: Delivery.objects.filter(status="delivered").exists())

    assert [json.loads(got.raw)["data"]["state"] for got in receiver.got] == ["firing"]


@pytest.mark.django_db(transaction=True)
def test_several_evaluators_at_once_tell_a_transition_once(receiver: Receiver) -> None:
    channels = [webhook(receiver, name=name) for name in ("one", "two")]
    for n in range(5):
        rule(*channels, name=f"rule {n}")
    rows.fail_one("a", flow=rows.make_flow())

    for _round in range(5):
        AlertRule.objects.update(checked_at=F("checked_at") - PAUSE)
        _at_once(judge.judge_next, threads=4)

    assert set(AlertRule.objects.values_list("state", "sequence")) == {("firing", 1)}
    assert Delivery.objects.count() == 10


@pytest.mark.django_db(transaction=True)
def test_several_deliverers_at_once_take_a_delivery_once(receiver: Receiver) -> None:
    channel = webhook(receiver)
    for _each in range(80):
        verbs.send_test(channel.pk, actor="ada")
    taken: list[int] = []

    def take(cursor: Any) -> bool:
        found = deliveries.take(cursor, busy=())
        taken.extend(each.id for each in found)
        return bool(found)

    _at_once(take, threads=4)

    assert sorted(taken) == list(Delivery.objects.order_by("id").values_list("id", flat=True))


def _at_once(work: Callable[[Any], bool], *, threads: int) -> None:
    """Each thread repeats it on a connection of its own, committing each time, until it says that there is no more."""
    barrier = threading.Barrier(threads)

    def repeat() -> None:
        with closing(connect()) as connection, connection.cursor() as cursor:
            barrier.wait(30)
            while work(cursor):
                connection.commit()

    running = [threading.Thread(target=repeat) for _each in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.django_db(transaction=True)
def test_a_rule_that_cannot_be_judged_holds_up_no_other(receiver: Receiver, monkeypatch: Any) -> None:
    """Somebody holds the table that the first one asks: its query runs out of time."""
    monkeypatch.setattr("dist_task.engine.store.alerts.LONGEST_QUERY", "50ms")
    rule(webhook(receiver), name="stuck", kind="exceptions")
    rule(name="free", kind="nothing_runs")
    AlertRule.objects.update(checked_at=F("checked_at") - PAUSE)
    AlertRule.objects.filter(name="stuck").update(checked_at=F("checked_at") - PAUSE)
    with closing(connect()) as holder, closing(connect()) as evaluator:
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE exceptions_app_exceptionrecord IN ACCESS EXCLUSIVE MODE")
        with evaluator.cursor() as cursor:
            for _rule in range(2):
                assert judge.judge_next(cursor)
                evaluator.commit()

    assert AlertRule.objects.get(name="free").state == "firing"
    assert AlertRule.objects.get(name="stuck").state == "ok"
