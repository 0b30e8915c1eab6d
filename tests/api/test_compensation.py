"""POST /transactions/:id/compensate, and what it would do or does."""

from __future__ import annotations

from typing import Any

import pytest

from flows.models import Flow
from flows.register import register
from tests.commands.rows import start_one, succeed_one

from .conftest import Api

UNDONE = {"id": "pay", "name": "付款", "type": "noop", "compensate": {"type": "noop"}}


@pytest.fixture
def undoable(db: None) -> Flow:
    return register(name="undoable", flow_type="t", definition={"tasks": [UNDONE]}, create_user="admin")


def test_the_plan_is_shown_before_it_is_asked_for(api: Api, undoable: Flow) -> None:
    succeed_one("i1", flow=undoable)

    data = api.get("/api/v1/transactions/i1/compensation").data

    assert (data["status"], data["compensation"]) == ("success", "none")
    (task,) = data["tasks"]
    assert (task["task_id"], task["name"], task["step"], task["undo"]) == ("pay", "付款", 1, True)
    assert (task["maybe_executed"], task["status"], task["attempt"]) == (False, None, 0)


def test_what_says_no_compensation_is_listed_as_passed_over(api: Api) -> None:
    plain = {key: value for key, value in UNDONE.items() if key != "compensate"}
    flow = register(name="plain", flow_type="t", definition={"tasks": [plain]}, create_user="admin")
    succeed_one("i1", flow=flow)

    assert [task["undo"] for task in api.get("/api/v1/transactions/i1/compensation").data["tasks"]] == [False]


def test_what_has_not_run_is_not_in_the_plan(api: Api, undoable: Flow) -> None:
    start_one("i1", flow=undoable)

    assert api.get("/api/v1/transactions/i1/compensation").data["tasks"] == []


def test_it_is_asked_for_once(api: Api, undoable: Flow) -> None:
    succeed_one("i1", flow=undoable)

    first = api.post("/api/v1/transactions/i1/compensate", {"remark": "sent back"})
    second = api.post("/api/v1/transactions/i1/compensate", {"remark": "sent back"})

    assert first.data == {"instance_id": "i1", "status": "success", "compensation": "running"}
    assert (second.status, second.data) == (400, None)
    assert "cannot be compensated now" in second.message
    log = api.get("/api/v1/transactions/i1/logs").data["list"]
    assert [(entry["event"], entry["message"]) for entry in log if not entry["task_id"]] == [
        ("compensating", "sent back")
    ]


def test_what_has_not_ended_cannot_be_undone(api: Api, undoable: Flow) -> None:
    start_one("i1", flow=undoable)

    assert api.post("/api/v1/transactions/i1/compensate", {"remark": "sent back"}).status == 400


@pytest.mark.parametrize("body", [{"remark": 1}, {"remark": "x" * 2_001}, {"remark": "x", "surprise": 1}, []])
def test_a_malformed_body_changes_nothing(api: Api, undoable: Flow, body: Any) -> None:
    succeed_one("i1", flow=undoable)

    assert api.post("/api/v1/transactions/i1/compensate", body).status == 400
    assert api.get("/api/v1/transactions/i1").data["compensation"] == "none"
