"""The operators' verbs in the console: each through its page, with its reason and its permission."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.commands import rows
from transactions.models import Transaction

INBOX = "admin:exceptions_app_exceptionrecord_changelist"
TRANSACTIONS = "admin:transactions_transaction_changelist"


@pytest.fixture
def record(root: Client, flow: Flow) -> ExceptionRecord:
    return rows.fail_one("verbs_1", flow=flow)


def act(client: Client, record: Any, action: str, *, page: str = INBOX, **values: Any) -> str:
    """Through the confirmation page, whose hidden fields are sent back as a browser would."""
    where = reverse(page) + ("?status=all" if page == INBOX else "")
    chosen = {"action": action, "_selected_action": str(record.pk)}
    asked = client.post(where, chosen)
    assert asked.status_code == 200
    seen = [entry[2].seen for entry in asked.context["rows"]] if asked.context and "rows" in asked.context else [""]
    sent = {**chosen, "confirmed": "yes", f"seen-{record.pk}": seen[0], **values}
    return client.post(where, sent).content.decode()


def test_a_failed_task_is_skipped_with_an_output(root: Client, record: ExceptionRecord) -> None:
    assert "This field is required" in act(root, record, "skip", output="{}")
    assert "valid JSON" in act(root, record, "skip", output="{", remark="sold out")

    said = act(root, record, "skip", output='{"left": 0}', remark="sold out")

    assert "the flow goes on without it" in said
    run = TaskRun.objects.get(pk=record.run_id)
    assert (run.status, run.output) == ("skipped", {"left": 0})
    record.refresh_from_db()
    assert (record.status, record.resolution, record.remark) == ("handled", "skipped", "sold out")


def test_a_task_is_completed_by_hand(root: Client, record: ExceptionRecord) -> None:
    assert "counts as done" in act(root, record, "complete", output='{"id": 7}', remark="paid by wire")

    assert TaskRun.objects.get(pk=record.run_id).status == "success"


def test_an_exception_is_assigned_commented_and_found_under_mine(root: Client, record: ExceptionRecord) -> None:
    me = User.objects.get(username="root").username
    assert "there is no active user" in act(root, record, "assign", assignee="nobody_here", remark="hers")
    assert f"assigned to {me}" in act(root, record, "assign", assignee=me, remark="mine")
    assert "commented" in act(root, record, "comment", remark="the bank calls back at nine")

    page = root.get(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,))).content.decode()
    mine = root.get(reverse(INBOX) + f"?assignee={me}").content.decode()
    others = root.get(reverse(INBOX) + "?assignee=somebody").content.decode()

    assert "the bank calls back at nine" in page
    assert "verbs_1" in mine and "verbs_1" not in others


def test_a_transaction_is_paused_and_resumed_with_a_reason(root: Client, flow: Flow) -> None:
    txn = rows.start_one("verbs_2", flow=flow)
    assert "This field is required" in act(root, txn, "pause", page=TRANSACTIONS)
    assert "it is paused" in act(root, txn, "pause", page=TRANSACTIONS, remark="the bank is closed")

    shown = root.get(reverse("admin:transactions_transaction_change", args=(txn.pk,))).content.decode()
    assert "until somebody resumes it" in shown and "Resume…" in shown and "Pause…" not in shown

    assert "it goes on" in act(root, txn, "resume", page=TRANSACTIONS, remark="it is open")
    assert not Transaction.objects.get(pk=txn.pk).paused
    events = ExecutionLog.objects.filter(transaction=txn, event__in=("paused", "resumed")).order_by("id")
    assert [(each.actor, each.message) for each in events] == [
        ("root", "the bank is closed"),
        ("root", "it is open"),
    ]


def test_only_the_approvals_that_were_shown_are_decided(root: Client, db: None) -> None:
    ask = [{"id": each, "type": "approval"} for each in ("a", "b")]
    txn = rows.start_one(
        "verbs_3", flow=register(name="asks", flow_type="t", definition={"tasks": ask}, create_user="t")
    )
    waiting = {"status": "waiting", "waits_for": "approval", "attempt": 1}
    TaskRun.objects.create(transaction=txn, task_id="a", **waiting)
    where = reverse(TRANSACTIONS)
    chosen = {"action": "approve", "_selected_action": str(txn.pk)}
    ((_row, _link, told),) = root.post(where, chosen).context["rows"]
    TaskRun.objects.create(transaction=txn, task_id="b", **waiting)

    decided = {"confirmed": "yes", f"seen-{txn.pk}": told.seen, "remark": "go"}
    said = root.post(where, {**chosen, **decided}).content.decode()

    assert "decided: a" in said
    answered = TaskRun.objects.filter(transaction=txn, answer__isnull=False).values_list("task_id", flat=True)
    assert list(answered) == ["a"]


@pytest.mark.parametrize("action", ["retry", "handle", "skip", "complete", "assign", "comment"])
def test_every_verb_of_exceptions_asks_why(root: Client, record: ExceptionRecord, action: str) -> None:
    given = {"resolution": "ignored"} if action == "handle" else {}
    assert "This field is required" in act(root, record, action, remark="", **given)
    assert not ExecutionLog.objects.filter(actor="root").exists()


@pytest.mark.parametrize("action", ["retry", "cancel", "pause", "compensate", "rerun", "approve", "reject"])
def test_every_verb_of_transactions_asks_why(root: Client, record: ExceptionRecord, action: str) -> None:
    assert "This field is required" in act(root, record.transaction, action, page=TRANSACTIONS, remark=" ")
    assert not ExecutionLog.objects.filter(actor="root").exists()
