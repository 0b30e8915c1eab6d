"""The page of a transaction: its drawing, the task that is looked at, and who did what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from dist_task.console.graph import MOST_NODES
from dist_task.console.transaction_page import MOST_TASKS
from dist_task.engine.operate import cancel_transaction, retry_transaction
from dist_task.executors.base import TaskCall
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from flows.registry_rows import _parsed
from tests.commands import rows
from transactions.models import Transaction


def address(txn: Transaction, query: str = "") -> str:
    return reverse("admin:transactions_transaction_change", args=(txn.pk,)) + query


def test_the_drawing_links_each_task_to_its_panel(root: Client, flow: Flow) -> None:
    tasks = [{"id": "a", "type": "noop"}, {"id": "b", "type": "noop", "depends_on": ["a"]}]
    flow = register(name="two", flow_type="t", definition={"tasks": tasks}, create_user="t")
    txn = rows.start_one("two_1", flow=flow)

    text = root.get(address(txn, "?task=b")).content.decode()

    assert 'href="?task=a#task"' in text
    assert '<a href="?task=b#task" aria-current="true">' in text
    assert "<desc" in text
    assert 'id="task-title">b' in text
    assert "It has not begun" in text


def test_the_panel_opens_with_what_failed(root: Client, record: ExceptionRecord) -> None:
    page = root.get(address(record.transaction))

    panel = page.context["panel"]
    assert (panel.task_id, panel.status, len(panel.attempts)) == ("pay", "failed", 1)
    assert b"may have been executed" not in page.content


def test_what_may_have_been_executed_says_so(root: Client, record: ExceptionRecord) -> None:
    TaskRun.objects.filter(transaction=record.transaction_id).update(maybe_executed=True)

    assert b"may have been executed" in root.get(address(record.transaction)).content


@pytest.mark.parametrize(
    "query",
    [
        "task=nothing",
        "task=" + "x" * 80,
        "task=pay&op=wrong",
        "task=pay&item=x",
        "task=pay&item=99999999999",
        "task=%F0",
    ],
)
def test_a_task_that_is_not_there_opens_the_usual_one(query: str, root: Client, record: ExceptionRecord) -> None:
    page = root.get(address(record.transaction, f"?{query}"))

    assert page.status_code == 200
    assert page.context["panel"].task_id == "pay"


def test_operations_say_who_did_what_and_why(root: Client, record: ExceptionRecord) -> None:
    instance_id = record.transaction.instance_id
    retry_transaction(instance_id, actor="ana", remark="the bank is back")
    cancel_transaction(instance_id, actor="bo", remark="the customer left")

    operations = root.get(address(record.transaction)).context["operations"]

    assert [(entry.actor, entry.event, entry.head) for entry in operations] == [
        ("ana", "retried", "the bank is back"),
        ("bo", "cancelled", "the customer left"),
    ]


def test_nobody_stepped_in(root: Client, flow: Flow) -> None:
    assert b"Nobody has stepped in." in root.get(address(rows.start_one("n", flow=flow))).content


def test_the_trace_id_is_the_one_that_services_are_told(root: Client, flow: Flow) -> None:
    txn = rows.start_one("n", flow=flow)
    call = TaskCall("n", "pay", "action", -1, 1, config={}, input={}, timeout_seconds=1)

    trace_id = root.get(address(txn)).context["trace_id"]

    assert call.headers["traceparent"].split("-")[1] == trace_id


def test_what_is_tried_again_does_not_look_like_what_has_not_begun(root: Client) -> None:
    tasks = [{"id": "pay", "name": "Pay", "type": "noop"}, {"id": "ship", "type": "noop", "depends_on": ["pay"]}]
    flow = register(name="again", flow_type="t", definition={"tasks": tasks}, create_user="t")
    txn = rows.fail_one("again_1", flow=flow).transaction
    retry_transaction(txn.instance_id, actor="ana")

    page = root.get(address(txn))

    assert [row.status for row in page.context["tasks"]] == ["retrying", "pending"]
    assert page.context["counts"] == [("pending", "pending", 1), ("retrying", "retrying", 1)]
    assert b"node-retrying" in page.content
    assert (page.context["panel"].task_id, page.context["panel"].word) == ("pay", "retrying")


def test_an_approval_says_who_may_give_it(root: Client) -> None:
    task = {"id": "pay", "type": "approval", "config": {"role": "boss"}}
    flow = register(name="ask", flow_type="t", definition={"tasks": [task]}, create_user="t")
    txn = rows.wait_one("w", flow=flow)

    page = root.get(address(txn))

    assert "pay for an approval by boss" in page.context["reason"].sentence
    assert page.context["can_decide"]


def test_a_compensation_is_in_the_drawing_and_has_a_panel(root: Client) -> None:
    task = {"id": "pay", "name": "Pay", "type": "noop", "compensate": {}}
    flow = register(name="undoable", flow_type="t", definition={"tasks": [task]}, create_user="t")
    txn = rows.fail_undoing("h", flow=flow).transaction

    page = root.get(address(txn, "?task=pay&op=compensate"))

    assert page.context["graph"].nodes[0].undo.state == "failed"
    assert page.context["panel"].key == ("pay", "compensate", -1)
    assert [row.label for row in page.context["timeline"].rows] == ["Pay", "undo: Pay"]


def test_runs_are_shown_though_their_definition_is_understood_no_more(root: Client, record: ExceptionRecord) -> None:
    with connection.cursor() as cursor:
        cursor.execute('UPDATE flows_flow SET definition = \'{"tasks": [{"id": "pay", "type": "gone"}]}\'')
    _parsed.cache_clear()

    page = root.get(address(record.transaction))

    assert b"This definition cannot be run by this version" in page.content
    assert [row.status for row in page.context["tasks"]] == ["failed"]
    assert page.context["panel"].task_id == "pay"
    _parsed.cache_clear()


def test_a_flow_that_is_too_large_is_a_list(root: Client) -> None:
    tasks = [{"id": f"t{n}", "type": "noop"} for n in range(MOST_NODES + 1)]
    flow = register(name="huge", flow_type="t", definition={"tasks": tasks}, create_user="t")

    page = root.get(address(rows.start_one("n", flow=flow)))

    assert page.context["graph"] is None
    assert b"The flow is too large to be drawn" in page.content
    assert len(page.context["tasks"]) == MOST_TASKS


def test_a_role_that_sees_no_exceptions_sees_none_here(sign_in: Callable[..., Client], record: ExceptionRecord) -> None:
    client = sign_in()
    User.objects.get(username="nobody").user_permissions.add(Permission.objects.get(codename="view_transaction"))

    page = client.get(address(record.transaction))

    assert page.context["exceptions"] == []
    assert "1 exception needs a person." in page.context["reason"].sentence


def test_parent_and_child_lead_to_each_other(root: Client, flow: Flow) -> None:
    order = {"id": "order", "type": "subflow", "config": {"flow": flow.name}}
    contract = register(name="contract", flow_type="t", definition={"tasks": [order]}, create_user="t")
    parent = rows.start_one("contract-1", flow=contract)
    for item in range(11):
        child = rows.start_one(f"contract-1.order.{item}", flow=flow)
        Transaction.objects.filter(pk=child.pk).update(parent=parent, parent_task_id="order", parent_item=item)

    above = root.get(reverse("admin:transactions_transaction_change", args=(parent.pk,))).content.decode()
    below = root.get(reverse("admin:transactions_transaction_change", args=(child.pk,))).content.decode()

    assert "contract-1.order.10</a>" in above and "order [10]" in above
    assert "contract-1.order.0</a>" not in above and "?parent=contract-1" in above
    assert "contract-1</a>" in below and "Transactions it has started" not in below
    assert Transaction.objects.filter(parent=parent).count() == 11
    assert root.get(reverse("admin:transactions_transaction_changelist") + "?parent=contract-1").status_code == 200
