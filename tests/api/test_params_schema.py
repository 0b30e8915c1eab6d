"""A start whose params do not fit the schema of its flow is a 400 with their paths, and leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from flows.models import Flow
from flows.register import register
from transactions.models import Transaction

from .conftest import Api

SCHEMA = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}


@pytest.fixture
def strict(db: None) -> Flow:
    definition = {"tasks": [], "params_schema": SCHEMA}
    return register(name="strict", flow_type="t", definition=definition, create_user="admin")


def start(api: Api, flow: Flow, instance_id: str, params: Any) -> Any:
    return api.post("/api/v1/transactions", {"instance_id": instance_id, "flow_id": flow.pk, "params": params})


def test_wrong_params_are_refused_with_their_path(api: Api, strict: Flow) -> None:
    answer = start(api, strict, "i1", {"amount": "much"})

    assert (answer.status, answer.fields) == (400, {"params.amount"})
    assert not Transaction.objects.exists()
    assert start(api, strict, "i1", {"amount": 1}).status == 200


def test_each_start_of_a_batch_is_judged_for_itself(api: Api, strict: Flow) -> None:
    items = [
        {"instance_id": "a", "flow_id": strict.pk, "params": {"amount": 1}},
        {"instance_id": "b", "flow_id": strict.pk, "params": {}},
        {"instance_id": "b", "flow_id": strict.pk, "params": {"amount": 2}},
    ]

    results = api.post("/api/v1/transactions/batch", {"transactions": items}).data["results"]

    assert [result["code"] for result in results] == [0, 400, 0]
    assert set(Transaction.objects.values_list("instance_id", flat=True)) == {"a", "b"}
