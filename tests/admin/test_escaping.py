"""What other people's services say is shown as text, wherever it is shown."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.admin.conftest import HOSTILE
from transactions.models import Transaction


@pytest.fixture
def hostile_rows(record: ExceptionRecord) -> ExceptionRecord:
    """As if a service had answered with it, a client had sent it, and an operator had written it."""
    evil = {HOSTILE: [HOSTILE]}
    Transaction.objects.filter(pk=record.transaction_id).update(params=evil, created_by=HOSTILE)
    TaskRun.objects.filter(transaction=record.transaction_id).update(input=evil, output=evil, error_message=HOSTILE)
    ExecutionLog.objects.filter(transaction=record.transaction_id).update(
        message=HOSTILE, request=evil, response=evil, detail=evil, actor=HOSTILE, error_code=HOSTILE
    )
    ExceptionRecord.objects.filter(pk=record.pk).update(task_name=HOSTILE, remark=HOSTILE)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE flows_flow SET description = %s, name = %s", [HOSTILE, HOSTILE])
    return record


def addresses(record: ExceptionRecord) -> list[str]:
    entry = ExecutionLog.objects.filter(transaction=record.transaction_id).latest("id")
    return [
        reverse("admin:index"),
        reverse("admin:transactions_transaction_changelist"),
        reverse("admin:transactions_transaction_change", args=(record.transaction_id,)),
        reverse("admin:exceptions_app_exceptionrecord_changelist"),
        reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)),
        reverse("admin:dist_task_executionlog_changelist"),
        reverse("admin:dist_task_executionlog_change", args=(entry.pk,)),
        reverse("admin:flows_flow_changelist"),
        reverse("admin:flows_flow_change", args=(record.flow_id,)),
    ]


def test_hostile_values_are_text_on_every_page(root: Client, hostile_rows: ExceptionRecord) -> None:
    for address in addresses(hostile_rows):
        text = root.get(address).content.decode()
        assert "&lt;script&gt;alert(1)" in text, address
        assert "<script>alert" not in text, address
        assert "<img src=x>" not in text, address


def test_hostile_values_are_text_on_the_confirmation_and_its_results(
    root: Client, hostile_rows: ExceptionRecord
) -> None:
    address = reverse("admin:exceptions_app_exceptionrecord_changelist")
    asked = {"action": "handle", "_selected_action": hostile_rows.pk}
    sent = {**asked, "confirmed": "yes", "remark": HOSTILE, "resolution": "ignored"}

    assert "&lt;script&gt;alert(1)" in root.post(address, asked).content.decode()
    for data in (asked, sent):
        assert "<script>alert" not in root.post(address, data).content.decode()


def test_a_runbook_that_is_no_web_address_is_no_link(root: Client) -> None:
    from flows.models import TaskDefinition

    TaskDefinition.objects.create(name="evil", type="noop", runbook_url="javascript:alert(1)")

    text = root.get(reverse("admin:flows_taskdefinition_changelist")).content.decode()

    assert "javascript:" not in text
