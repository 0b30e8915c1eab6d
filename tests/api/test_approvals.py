"""POST /transactions/:id/approve and /reject"""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flows.register import register
from tests.commands.rows import wait_one
from transactions.models import Transaction

from .conftest import Api, as_role


@pytest.fixture
def asked(db: None) -> Transaction:
    """A transaction that waits for the risk department."""
    task = {"id": "pay", "type": "approval", "config": {"role": "risk"}}
    flow = register(name="asked", flow_type="t", definition={"tasks": [task]}, create_user="admin")
    return wait_one("i1", flow=flow)


def test_who_decides_is_answered_and_the_transaction_is_due(api: Api, asked: Transaction) -> None:
    assert asked.wake_at is None

    answer = api.post("/api/v1/transactions/i1/approve", {"task_id": "pay", "remark": "fine"})

    assert answer.data == {"instance_id": "i1", "status": "running"}
    asked.refresh_from_db()
    assert asked.wake_at is not None
    log = api.get("/api/v1/transactions/i1/logs").data["list"]
    assert [(entry["event"], entry["message"]) for entry in log] == [("waiting", ""), ("answered", "fine")]


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_it_is_decided_once(api: Api, asked: Transaction, verb: str) -> None:
    api.post("/api/v1/transactions/i1/reject", {"task_id": "pay", "remark": "fine"})

    assert api.post(f"/api/v1/transactions/i1/{verb}", {"task_id": "pay", "remark": "fine"}).status == 400


BODIES = [
    {"remark": "fine"},
    {"remark": "fine", "task_id": "other"},
    {"remark": "fine", "task_id": 1},
    {"remark": "fine", "task_id": "pay", "x": 1},
    {"task_id": "pay"},
    [],
]


@pytest.mark.parametrize("body", BODIES)
def test_a_malformed_decision_decides_nothing(api: Api, asked: Transaction, body: Any) -> None:
    assert api.post("/api/v1/transactions/i1/approve", body).status == 400
    assert api.post("/api/v1/transactions/i1/approve", {"task_id": "pay", "remark": "fine"}).status == 200


def test_only_members_of_the_role_decide(asked: Transaction, closed: None) -> None:
    operator = as_role("operator")
    refused = operator.post("/api/v1/transactions/i1/approve", {"task_id": "pay", "remark": "fine"})
    User.objects.get(username="operator-user").groups.add(Group.objects.create(name="risk"))

    accepted = operator.post("/api/v1/transactions/i1/approve", {"task_id": "pay", "remark": "fine"})

    assert (refused.status, accepted.status) == (400, 200)
    assert "risk" in refused.message
