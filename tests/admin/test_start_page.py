"""A transaction is started from the console, by a form of what its flow takes."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.engine.start import StartRequest, start
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


class _Form(HTMLParser):
    """The values of a form's fields as a browser holds them, nothing changed by anybody."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._area: str | None = None
        self._select: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        name, value = has.get("name") or "", has.get("value") or ""
        if tag == "input" and name.startswith("params"):
            self.values[name] = value.replace("\r", "").replace("\n", "")  # as HTML says of one line of text
        elif tag == "textarea":
            self._area, self.values[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select is not None and ("selected" in has or self._select not in self.values):
            self.values[self._select] = value

    def handle_data(self, data: str) -> None:
        if self._area is not None:
            self.values[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self._area is not None:
            text = self.values[self._area].removeprefix("\r").removeprefix("\n")
            self.values[self._area] = text.replace("\r\n", "\n").replace("\n", "\r\n")
            self._area = None
        elif tag == "select":
            self._select = None


def as_a_browser_sends(page: str) -> dict[str, str]:
    return {name: value for name, value in _Form(page).values.items() if name == "rest" or name.startswith("params")}


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


ODD: dict[str, Any] = {
    "type": "object",
    "required": ["lines"],
    "properties": {
        "amount": {"type": "number"},
        "note": {"type": "string"},
        "express": {"type": "boolean"},
        "speed": {"enum": ["", "fast"]},
        "lines": {"type": "array"},
        "count": {"type": "integer"},
        "any": True,
    },
}


@pytest.fixture
def odd(db: None) -> Flow:
    definition = {"tasks": [{"id": "pay", "type": "noop"}], "params_schema": ODD}
    return register(name="odd", flow_type="t", definition=definition, create_user="t")


@pytest.mark.parametrize("text", ["9007199254740993", "12345678901234567890", "-3"])
def test_a_number_is_taken_to_the_last_digit(root: Client, odd: Flow, text: str) -> None:
    sent(odd, root, **{"params.amount": text, "params.lines": "[]"})

    assert Transaction.objects.get().params == {"amount": int(text), "lines": []}


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "0x1", "9" * 5000])
def test_what_is_no_number_is_refused(root: Client, odd: Flow, text: str) -> None:
    assert set(sent(odd, root, **{"params.amount": text, "params.lines": "[]"}).context["form"].errors) == {
        "params.amount"
    }
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    "params",
    [
        {"lines": [], "note": "two\nlines"},
        {"lines": [1], "note": "", "speed": ""},
        {"lines": [], "any": None},
        {"lines": [], "meta": {}, "any": {}},
        {"lines": [], "any": "", "note": "x" * 20_000},
        {"lines": [], "amount": 9007199254740993, "express": False, "count": 0},
        {"lines": [], "amount": 1.5, "express": True, "note": " x ", "speed": "fast", "any": [None, "1"]},
    ],
)
def test_one_like_another_has_just_its_params(root: Client, odd: Flow, params: dict[str, Any]) -> None:
    start(StartRequest("other", odd.pk, params), actor="t")
    txn = Transaction.objects.get()

    page = root.get(page_of(odd, f"?like={txn.pk}")).content.decode()
    sent(odd, root, **as_a_browser_sends(page))

    assert Transaction.objects.get(instance_id="p1").params == params


def test_properties_that_no_form_can_name_are_left_to_json(root: Client, db: None) -> None:
    names = ["x" * 5000, "x" * 5001, "", "ok.$[0]'\"", "ordinary"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    definition = {"tasks": [{"id": "pay", "type": "noop"}], "params_schema": schema}
    flow = register(name="names", flow_type="t", definition=definition, create_user="t")

    assert [each.path[-1] for each in asked_for(load(flow))] == ["ok.$[0]'\"", "ordinary"]
    sent(flow, root, **{each.field: each.path[-1] for each in asked_for(load(flow))})

    assert Transaction.objects.get().params == {"ok.$[0]'\"": "ok.$[0]'\"", "ordinary": "ordinary"}


def test_a_long_list_of_choices_is_written(root: Client, db: None) -> None:
    schema = {"type": "object", "properties": {"sku": {"type": "string", "enum": [f"s{n}" for n in range(10_000)]}}}
    definition = {"tasks": [{"id": "pay", "type": "noop"}], "params_schema": schema}
    flow = register(name="skus", flow_type="t", definition=definition, create_user="t")

    assert len(root.get(page_of(flow)).content) < 100_000
    assert sent(flow, root, **{"params.sku": "nothing"}).context["form"].errors
    sent(flow, root, **{"params.sku": "s9999"})
    assert Transaction.objects.get().params == {"sku": "s9999"}


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
