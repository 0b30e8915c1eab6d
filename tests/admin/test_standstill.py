"""Why is it not moving? A table of facts and sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.console.standstill import Retry, Standing, why
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.commands import rows

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(seconds=40), NOW - timedelta(seconds=90)


@pytest.mark.parametrize(
    ("facts", "kind", "part"),
    [
        ({"status": "success"}, "final", "nothing left to do"),
        ({"status": "cancelled"}, "final", "nothing left to do"),
        ({"status": "success", "compensation": "running", "wake_at": LATER}, "later", "Due in"),
        ({"status": "failed", "compensation": "running", "wake_at": LATER}, "later", "Due in"),
        ({"status": "success", "compensation": "failed", "open_exceptions": 1}, "person", "half undone"),
        ({"status": "failed", "compensation": "done"}, "final", "what it had done is undone"),
        ({"status": "failed", "open_exceptions": 2}, "person", "2 exceptions need a person"),
        ({"status": "failed"}, "final", "no exception is open"),
        ({"status": "running", "wake_at": LATER}, "later", "Due in 40 s"),
        (
            {"status": "running", "wake_at": LATER, "to_retry": {"pay": Retry(2, 4)}},
            "later",
            "pay after attempt 2 of 4",
        ),
        ({"status": "pending", "wake_at": BEFORE}, "nobody", "no live worker"),
        ({"status": "pending", "wake_at": BEFORE, "live_workers": 1, "idle_workers": 1}, "due", "1 min 30 s"),
        ({"status": "pending", "wake_at": NOW, "live_workers": 3, "idle_workers": 1}, "due", "3 live workers"),
        ({"status": "pending", "wake_at": BEFORE, "live_workers": 1}, "due", "the one live worker is busy"),
        ({"status": "pending", "wake_at": BEFORE, "live_workers": 2}, "due", "all 2 live workers are busy"),
        ({"status": "running", "waiting": {"ok": "an approval by boss"}}, "waiting", "ok for an approval by boss"),
        (
            {"status": "running", "waiting": {"ok": "a callback of the service"}, "wake_at": LATER},
            "waiting",
            "It waits, 40 s at most: ok for a callback",
        ),
        ({"status": "running", "open_exceptions": 1}, "person", "1 exception needs a person"),
        ({"status": "running"}, "limbo", "report this"),
        ({"status": "running", "owner": 7, "owner_lease_until": LATER}, "held", "Worker #7 holds it"),
        ({"status": "running", "owner": 7, "owner_lease_until": NOW}, "orphaned", "lease has run out"),
        ({"status": "running", "owner": 7}, "orphaned", "lease has run out"),
        (
            {"status": "running", "owner": 7, "owner_lease_until": LATER, "running": ("pay",)},
            "held",
            "runs: pay",
        ),
        (
            {"status": "running", "owner": 7, "owner_lease_until": LATER, "cancelling": True},
            "held",
            "being cancelled",
        ),
    ],
)
def test_the_sentence_says_what_is_missing(facts: dict[str, Any], kind: str, part: str) -> None:
    reason = why(Standing(now=NOW, **facts))

    assert reason.kind == kind
    assert part in reason.sentence


def test_a_new_transaction_without_a_worker_says_so(root: Client, flow: Flow) -> None:
    txn = rows.start_one("n", flow=flow)

    answer = root.get(reverse("admin:transactions_transaction_change", args=(txn.pk,)))

    assert b"nobody works" in answer.content


def test_a_failed_transaction_leads_to_its_exception(root: Client, record: ExceptionRecord) -> None:
    answer = root.get(reverse("admin:transactions_transaction_change", args=(record.transaction_id,)))

    assert b"1 exception needs a person." in answer.content
    assert reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)).encode() in answer.content


def test_tasks_are_shown_in_the_order_of_the_definition(root: Client, db: None) -> None:
    from flows.register import register

    ids = ("zulu", "alpha", "mike")
    tasks = [{"id": task_id, "type": "noop"} for task_id in ids]
    flow = register(name="ordered", flow_type="test", definition={"tasks": tasks}, create_user="t")
    txn = rows.start_one("o", flow=flow)

    answer = root.get(reverse("admin:transactions_transaction_change", args=(txn.pk,)))

    assert [row.task_id for row in answer.context["tasks"]] == list(ids)
    assert {row.status for row in answer.context["tasks"]} == {"pending"}
