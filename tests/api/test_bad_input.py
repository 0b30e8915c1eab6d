"""What is wrong in itself is a 400 that names the place, and leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.models import Flow
from tests.api.conftest import Api
from transactions.models import Transaction

TASK = {"id": "a", "type": "noop"}
NEW = {"name": "n", "flow_type": "t", "create_user": "me", "definition": {"tasks": []}}


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "{",
        "not json",
        "[]",
        "17",
        "null",
        17,
        None,
        [],
        True,
        {"tasks": [TASK], "colour": "red"},
        {"tasks": [{**TASK, "colour": "red"}]},
        {"tasks": [TASK, TASK]},
        {"tasks": [{**TASK, "depends_on": ["b"]}]},
        {"tasks": [{**TASK, "depends_on": ["a"]}]},
        {"tasks": [{**TASK, "depends_on": ["b"]}, {"id": "b", "type": "noop", "depends_on": ["a"]}]},
        {"tasks": [{**TASK, "timeout": "soon"}]},
        {"tasks": [{**TASK, "retry": {"strategy": "auto", "max_attempts": "3"}}]},
        {"tasks": {}},
        {"tasks": [1]},
        {"tasks": [{"id": 5}]},
        {"tasks": [{**TASK, "type": "teleport"}]},
        {"name": "a\0b", "tasks": []},
        {"name": "a\r\nb", "tasks": []},
        {"tasks": [{**TASK, "name": "a\r\nb"}]},
        {"tasks": [{"id": f"t{number}", "type": "noop"} for number in range(100_000)]},
        json.dumps({"tasks": [{"id": f"t{number}", "type": "noop"} for number in range(100_000)]}),
        '{"tasks": [], "x": NaN}',
        '{"tasks": [{"id": "a", "type": "noop", "timeout": 1e400}]}',
        '{"tasks": [{"id": "a", "type": "noop", "config": {"n": 99999999999999999999}}]}',
        '{"tasks": [{"id": "a", "type": "noop", "name": "\\ud800"}]}',
        {"tasks": [{**TASK, "config": {"n": 2**63}}]},
        {"tasks": [{**TASK, "config": {"n": "\ud800"}}]},
        {"tasks": [{**TASK, "config": {"n": float("nan")}}]},
        "[" * 100_000,
    ],
    ids=lambda definition: str(definition)[:40],
)
def test_a_definition_that_is_wrong_is_refused(api: Api, definition: Any) -> None:
    answer = api.post("/api/v1/flows", {**NEW, "definition": definition})

    assert answer.status == 400
    assert answer.fields
    assert all(field.startswith(("definition", "tasks", "name", "colour", "x")) for field in answer.fields)
    assert not Flow.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "  "),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("name", "a\r\nb"),
        ("name", None),
        ("name", 5),
        ("flow_type", "x" * 51),
        ("flow_type", "a\nb"),
        ("create_user", "x" * 101),
        ("create_user", ["me"]),
        ("description", 5),
        ("description", "x" * 10_001),
        ("description", "\0"),
        ("id", "mine"),
        ("is_active", False),
    ],
)
def test_a_flow_with_a_wrong_field_is_refused(api: Api, field: str, value: Any) -> None:
    answer = api.post("/api/v1/flows", {**NEW, field: value})

    assert (answer.status, answer.fields) == (400, {field})
    assert not Flow.objects.exists()


def test_a_flow_without_tasks_is_fine(api: Api) -> None:
    assert api.post("/api/v1/flows", NEW).status == 200


@pytest.mark.parametrize(
    "instance_id",
    [
        "",
        "x" * 65,
        "a b",
        "a\tb",
        "a\nb",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "a%b",
        ".",
        "..",
        "batch",
        "a\0b",
        "\ud800",
        "\x85",
    ]
    + [None, 5, [], {}],
    ids=repr,
)
def test_an_instance_id_that_is_wrong_is_refused(api: Api, flow: Flow, instance_id: Any) -> None:
    answer = api.post("/api/v1/transactions", {"instance_id": instance_id, "flow_id": flow.pk})

    assert answer.status == 400
    assert "instance_id" in answer.message
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    "instance_id", ["x" * 64, "订单-1", "a.b:c@d", "BATCH", "...", "'; DROP TABLE x; --".replace(" ", "")]
)
def test_an_instance_id_may_hold_anything_else(api: Api, flow: Flow, instance_id: str) -> None:
    assert api.post("/api/v1/transactions", {"instance_id": instance_id, "flow_id": flow.pk}).status == 200
    assert api.get(f"/api/v1/transactions/{instance_id}").data["instance_id"] == instance_id


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ("[]", "params"),
        ('"text"', "params"),
        ("null", "params"),
        ("5", "params"),
        ('{"a": NaN}', "params.a"),
        ('{"a": [1, Infinity]}', "params.a[1]"),
        ('{"a": 9223372036854775808}', "params.a"),
        ('{"a": -9223372036854775809}', "params.a"),
        ('{"a": "\\udc00"}', "params.a"),
        ('{"a": "\\u0000"}', "params.a"),
        ('{"\\u0000": 1}', "params."),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "params.a"),
    ],
)
def test_params_that_are_wrong_are_refused(api: Api, flow: Flow, params: str, place: str) -> None:
    body = f'{{"instance_id": "i1", "flow_id": "{flow.pk}", "params": {params}}}'

    answer = api.post("/api/v1/transactions", body)

    assert answer.status == 400
    assert place in answer.message
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    "body", [{"flow_id": "x"}, {"instance_id": "i1"}, {"instance_id": "i1", "flow_id": 5}, {"extra": 1}]
)
def test_a_start_with_a_wrong_field_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/api/v1/transactions", body).fields


def test_the_largest_numbers_come_back_as_they_were(api: Api, flow: Flow) -> None:
    params = {"most": 2**63 - 1, "least": -(2**63), "small": 5e-324, "text": "\U0001f600\u2028\x7f"}

    api.post("/api/v1/transactions", {"instance_id": "i1", "flow_id": flow.pk, "params": params})

    assert api.get("/api/v1/transactions/i1").data["params"] == params
