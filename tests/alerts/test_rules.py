"""What each kind of rule asks, and that a transition is told once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from dist_task.alerts.models import AlertRule, Delivery
from dist_task.alerts.schedule import Move, move
from dist_task.engine.operate import handle_exception
from dist_task.engine.store import alerts, leases
from dist_task.models import Worker
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.commands import rows
from transactions.models import Transaction

from .conftest import look, rule, states, webhook
from .receiver import Receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def flow(db: None) -> Flow:
    return rows.make_flow()


def undoable() -> Flow:
    task = {"id": "pay", "type": "noop", "compensate": {}}
    return register(name="undoable", flow_type="t", definition={"tasks": [task]}, create_user="admin")


def test_a_rule_fires_at_its_threshold_and_ends_when_the_exceptions_are_handled(flow: Flow, receiver: Receiver) -> None:
    found = rule(webhook(receiver), threshold=2)
    first = rows.fail_one("a", flow=flow)
    look()
    assert states() == []

    rows.fail_one("b", flow=flow)
    look()
    look()

    found.refresh_from_db()
    assert (found.state, found.value, found.sequence) == ("firing", 2, 1)
    assert states() == [("alert.firing", "pending")]

    handle_exception(first.pk, actor="ada")
    look()
    look()

    found.refresh_from_db()
    assert (found.state, found.value, found.sequence) == ("ok", 1, 2)
    assert states() == [("alert.firing", "pending"), ("alert.resolved", "pending")]


def test_a_transition_is_told_to_each_active_channel(flow: Flow, receiver: Receiver) -> None:
    told = [webhook(receiver, name=name) for name in ("one", "two")]
    rule(*told, webhook(receiver, name="off", is_active=False))
    webhook(receiver, name="other")
    rows.fail_one("a", flow=flow)

    look()

    assert sorted(Delivery.objects.values_list("channel__name", flat=True)) == ["one", "two"]
    assert Delivery.objects.values("key").distinct().count() == 2


@pytest.mark.parametrize(
    ("values", "fires"),
    [
        ({"flow_name": "orders"}, True),
        ({"flow_name": "others"}, False),
        ({"outcome": "terminal"}, True),
        ({"outcome": "unknown"}, False),
        ({"window_seconds": 3600}, True),
        ({"window_seconds": 60}, False),
        ({"is_active": False}, False),
    ],
)
def test_a_rule_of_exceptions_counts_what_it_names(flow: Flow, values: dict[str, Any], fires: bool) -> None:
    found = rule(**values)
    rows.fail_one("a", flow=flow)
    ExceptionRecord.objects.update(last_at=timezone.now() - timedelta(minutes=10))

    look()

    found.refresh_from_db()
    assert (found.state == "firing") is fires


def test_a_failed_compensation_fires_and_a_failed_task_does_not(flow: Flow) -> None:
    found = rule(kind="compensation")
    rows.fail_one("a", flow=flow)
    look()
    found.refresh_from_db()
    assert found.state == "ok"

    record = rows.fail_undoing("b", flow=undoable())
    look()
    found.refresh_from_db()
    assert found.state == "firing"

    handle_exception(record.pk, actor="ada")
    look()
    found.refresh_from_db()
    assert found.state == "ok"


def test_nothing_runs_when_no_lease_was_valid_for_so_long(db: None) -> None:
    found = rule(kind="nothing_runs", age_seconds=60)
    look()
    found.refresh_from_db()
    assert found.state == "firing"

    with connection.cursor() as cursor:
        leases.register(cursor, cluster="t", host="t", pid=1, lease_seconds=15)
    look()
    found.refresh_from_db()
    assert found.state == "ok"

    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=30))
    look()
    found.refresh_from_db()
    assert found.state == "ok"

    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=90))
    look()
    found.refresh_from_db()
    assert found.state == "firing"
    assert found.value >= 90


def test_the_oldest_due_work_counts_where_nobody_holds_it(flow: Flow) -> None:
    found = rule(kind="oldest_due", age_seconds=300)
    rows.start_one("a", flow=flow)
    look()
    found.refresh_from_db()
    assert found.state == "ok"

    Transaction.objects.update(wake_at=timezone.now() - timedelta(seconds=400))
    look()
    found.refresh_from_db()
    assert found.state == "firing"

    rows.claim("a")
    look()
    found.refresh_from_db()
    assert found.state == "ok"


def test_an_alert_ends_only_after_its_calm(flow: Flow) -> None:
    found = rule(calm_seconds=60)
    record = rows.fail_one("a", flow=flow)
    look()
    handle_exception(record.pk, actor="ada")

    look()
    found.refresh_from_db()
    assert found.state == "firing"

    rows.fail_one("b", flow=flow)
    look()
    found.refresh_from_db()
    assert (found.state, found.quiet_since, found.sequence) == ("firing", None, 1)

    handle_exception(ExceptionRecord.objects.get(transaction__instance_id="b").pk, actor="ada")
    look()
    AlertRule.objects.update(quiet_since=F("quiet_since") - timedelta(seconds=61))
    look()
    found.refresh_from_db()
    assert (found.state, found.sequence) == ("ok", 2)


@pytest.mark.parametrize(
    ("state", "is_met", "quiet", "calm", "expected"),
    [
        ("ok", False, None, 60, Move.STAY),
        ("ok", True, None, 60, Move.FIRE),
        ("firing", True, None, 60, Move.STAY),
        ("firing", True, 59.0, 60, Move.STIR),
        ("firing", False, None, 60, Move.QUIET),
        ("firing", False, 59.9, 60, Move.STAY),
        ("firing", False, 60.0, 60, Move.RESOLVE),
        ("firing", False, None, 0, Move.RESOLVE),
    ],
)
def test_the_moves_of_a_rule(state: str, is_met: bool, quiet: float | None, calm: float, expected: Move) -> None:
    assert move(state, is_met=is_met, quiet_seconds=quiet, calm_seconds=calm) is expected


def test_a_rule_is_not_looked_at_again_within_its_pause(flow: Flow) -> None:
    rule()
    look()

    with connection.cursor() as cursor:
        assert alerts.take_next(cursor, every_seconds=10) is None
        assert alerts.take_next(cursor, every_seconds=0) is not None


@pytest.mark.parametrize(
    ("values", "index"),
    [
        ({"window_seconds": 60}, "exception_open_last"),
        ({"window_seconds": 0}, "exception_status_newest"),
        ({"kind": "oldest_due"}, "transaction_due"),
    ],
)
def test_what_a_rule_asks_is_answered_by_an_index(values: dict[str, Any], index: str) -> None:
    """With a planner that takes what it can for an index: whether one fits, not whether tiny tables need it."""
    rule(**values)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        due = alerts.take_next(cursor, every_seconds=-1)
        assert due is not None
        said: list[str] = []
        with connection.execute_wrapper(_explaining(said)):
            alerts.find(cursor, rule=due)

    assert index in "\n".join(said)


def _explaining(said: list[str]) -> Callable[..., Any]:
    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "set_config" not in sql:
            with connection.connection.cursor() as other:
                other.execute(f"EXPLAIN {sql}", params)
                said.extend(row[0] for row in other.fetchall())
        return execute(sql, params, many, context)

    return wrapper
