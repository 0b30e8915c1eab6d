"""A transaction is started from the console, by a form of what its flow takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from flows.models import Flow, TaskDefinition
from flows.register import register
from flows.registry_rows import load
from flows.start_form import MOST_ASKED, asked_for
from tests.commands import rows
from transactions.models import Transaction

from .conftest import HOSTILE

FIELDS = [
    {"name": "amount", "type": "int", "required": True, "description": "In cents"},
    {"name": "currency", "type": "string", "default": "EUR"},
    {"name": "express", "type": "bool"},
    {"name": "rate", "type": "float"},
    {"name": "tags", "type": "[]string"},
]
SCHEMA = {
    "type": "object",
    "required": ["order_id", "size"],
    "properties": {
        "order_id": {"type": "string", "title": "The order", "maxLength": 5},
        "size": {"type": "integer", "minimum": 1, "default": 2},
        "speed": {"type": "string", "enum": ["slow", "fast"]},
        "lines": {"type": "array", "items": {"type": "object"}},
    },
    "additionalProperties": False,
}


def page_of(flow: Flow, query: str = "") -> str:
    return reverse("admin:flow_start", args=(flow.pk,)) + query


@pytest.fixture
def payment(db: None) -> Flow:
    TaskDefinition.objects.create(name="pay_out", type="noop", inputs=FIELDS)
    tasks = [{"id": "pay", "task_name": "pay_out", "type": "noop"}, {"id": "ship", "type": "noop"}]
    return register(name="payments", flow_type="t", definition={"tasks": tasks}, create_user="t")


@pytest.fixture
def strict(db: None) -> Flow:
    definition = {"tasks": [{"id": "pay", "type": "noop"}], "params_schema": SCHEMA}
    return register(name="strict", flow_type="t", definition=definition, create_user="t")


def sent(flow: Flow, root: Client, **values: Any) -> Any:
    return root.post(page_of(flow), {"instance_id": "p1", **values}, follow=True)


def test_the_input_fields_of_tasks_are_asked_for(root: Client, payment: Flow) -> None:
    page = root.get(page_of(payment)).content.decode()
    for said in ("amount", "In cents · int", "string · default: EUR", "<legend>pay"):
        assert said in page, said

    answer = sent(
        payment, root, **{"params.pay.amount": "12", "params.pay.express": "True", "params.pay.tags": '["a"]'}
    )

    txn = Transaction.objects.get()
    assert (txn.instance_id, txn.created_by) == ("p1", "root")
    assert txn.params == {"pay": {"amount": 12, "express": True, "tags": ["a"]}}, "what was left empty has its default"
    assert b"It was started." in answer.content
    assert answer.redirect_chain[-1][0] == reverse("admin:transactions_transaction_change", args=(txn.pk,))


def test_the_schema_of_a_flow_is_asked_for(root: Client, strict: Flow) -> None:
    assert [each.type for each in asked_for(load(strict))] == ["string", "int", "string", "*"]
    assert root.get(page_of(strict)).context["form"].initial == {"params.size": 2, "rest": None}

    sent(strict, root, **{"params.order_id": "o-1", "params.size": "3", "params.speed": "fast", "params.lines": "[{}]"})

    assert Transaction.objects.get().params == {"order_id": "o-1", "size": 3, "speed": "fast", "lines": [{}]}


def test_what_does_not_fit_is_said_at_its_field_and_kept(root: Client, payment: Flow, strict: Flow) -> None:
    asked = sent(payment, root, **{"params.pay.amount": "1.5", "params.pay.tags": '"a"'})
    form = asked.context["form"]
    assert set(form.errors) == {"params.pay.amount"}

    asked = sent(payment, root, **{"params.pay.amount": "1", "params.pay.tags": '"kept"'})
    assert set(asked.context["form"].errors) == {"params.pay.tags"}
    assert b"kept" in asked.content

    asked = sent(strict, root, **{"params.order_id": "far too long", "params.size": "0"})
    assert set(asked.context["form"].errors) == {"params.order_id", "params.size"}
    asked = sent(strict, root, **{"params.order_id": "o", "params.size": "1", "rest": '{"more": 1}'})
    assert b"more" in asked.content and asked.context["form"].errors
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("instance_id", ["", "a b", "x" * 65, "batch", "a\0"])
def test_a_wrong_name_is_refused(root: Client, flow: Flow, instance_id: str) -> None:
    page = root.post(page_of(flow), {"instance_id": instance_id})

    assert page.status_code == 200 and page.context["form"].errors
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("rest", ["{", "[]", "5", '{"a": 1e400}', '{"a": "\\u0000"}', "[" * 100_000])
def test_json_that_is_none_is_refused(root: Client, flow: Flow, rest: str) -> None:
    page = sent(flow, root, rest=rest)

    assert set(page.context["form"].errors) == {"rest"}
    assert not Transaction.objects.exists()


def test_the_rest_is_json_and_what_is_asked_for_wins(root: Client, payment: Flow) -> None:
    sent(
        payment, root, **{"params.pay.amount": "1", "rest": '{"pay": {"amount": 9, "note": "x"}, "ship": {"to": "x"}}'}
    )

    assert Transaction.objects.get().params == {"pay": {"amount": 1, "note": "x"}, "ship": {"to": "x"}}


def test_the_same_name_twice_is_the_same_transaction_or_a_conflict(root: Client, flow: Flow) -> None:
    sent(flow, root, rest='{"n": 1}')

    again = sent(flow, root, rest='{"n": 1}')
    other = sent(flow, root, rest='{"n": 2}')

    assert b"It had been started before" in again.content
    assert b"is taken by a transaction" in other.content
    assert Transaction.objects.count() == 1


def test_it_begins_with_the_params_of_another_one(root: Client, payment: Flow) -> None:
    sent(payment, root, **{"params.pay.amount": "7", "rest": '{"ship": {"to": "Lyon"}}'})
    txn = Transaction.objects.get()

    form = root.get(page_of(payment, f"?like={txn.pk}")).context["form"]

    assert form.initial["params.pay.amount"] == 7
    assert form.initial["rest"] == {"ship": {"to": "Lyon"}}
    assert (
        f"?like={txn.pk}" in root.get(reverse("admin:transactions_transaction_change", args=(txn.pk,))).content.decode()
    )


@pytest.mark.parametrize("like", ["x", "-1", "9" * 30, "٣", "999999"])
def test_nonsense_to_begin_with_is_passed_over(root: Client, flow: Flow, like: str) -> None:
    assert root.get(page_of(flow, f"?like={like}")).context["form"].initial["rest"] is None


def test_of_another_flow_nothing_is_told(root: Client, flow: Flow, payment: Flow) -> None:
    txn = rows.start_one("other", flow=flow)

    assert root.get(page_of(payment, f"?like={txn.pk}")).context["form"].initial["rest"] is None


def test_hostile_fields_are_shown_as_text_and_many_are_left_to_json(root: Client, db: None) -> None:
    fields = [{"name": HOSTILE, "type": "string", "description": HOSTILE}]
    fields += [{"name": f"f{n}", "type": "string"} for n in range(MOST_ASKED * 2)]
    TaskDefinition.objects.create(name="odd", type="noop", inputs=fields)
    tasks = [{"id": "odd", "task_name": "odd", "type": "noop", "name": HOSTILE}]
    flow = register(name="odd", flow_type="t", definition={"tasks": tasks}, create_user="t")

    page = root.get(page_of(flow))

    assert b"<script>alert" not in page.content
    assert len(page.context["form"].asked) == MOST_ASKED
    assert len(page.content) < 100_000


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("author", False), ("submitter", True), ("operator", True)]
)
def test_who_may_start_sees_the_button(sign_in: Callable[..., Client], flow: Flow, role: str, may: bool) -> None:
    client = sign_in(role)

    assert (client.get(page_of(flow)).status_code == 200) == may
    own = client.get(reverse("admin:flows_flow_change", args=(flow.pk,))).content
    assert (b"/start/" in own) == may


def test_an_inactive_or_deleted_flow_is_not_started(root: Client, flow: Flow) -> None:
    Flow.objects.filter(pk=flow.pk).update(is_active=False)
    assert b"/start/" not in root.get(reverse("admin:flows_flow_change", args=(flow.pk,))).content
    assert b"is not active" in sent(flow, root).content

    flow.refresh_from_db()
    flow.deleted_at = flow.created_at
    flow.save()
    assert root.get(page_of(flow)).status_code == 404
    assert not Transaction.objects.exists()
