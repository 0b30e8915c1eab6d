"""The document's examples, as they are written there, in their order."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.commands.rows import fail_one, make_flow

FLOW = r"""{
    "name": "payment_flow",
    "description": "支付流程",
    "flow_type": "payment",
    "definition": "{\"name\":\"payment_flow\",\"tasks\":[]}",
    "create_user": "admin"
  }"""
TRANSACTION = """{
    "instance_id": "order_001",
    "flow_id": "%s",
    "params": {
      "deduct": {
        "user_id": "user_001",
        "amount": 100
      }
    }
  }"""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


@pytest.fixture
def flow_id(api: Api) -> str:
    return api.post("/api/v1/flows", FLOW.encode()).data["id"]


def part(whole: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """The documented fields; the others are extras."""
    return {name: whole[name] for name in like}


def test_health_is_ok(api: Api) -> None:
    assert api.get("/health").body == {"code": 0, "message": "success", "data": {"status": "ok"}}


def test_creating_a_flow_answers_its_id_name_and_time(api: Api) -> None:
    data = api.post("/api/v1/flows", FLOW.encode()).data

    assert data["name"] == "payment_flow"
    assert re.fullmatch(r"[0-9a-z]{4,16}", data["id"])
    assert TIME.fullmatch(data["created_at"])


def test_the_list_of_flows_has_pages(api: Api, flow_id: str) -> None:
    data = api.get("/api/v1/flows").data

    expected = {"id": flow_id, "name": "payment_flow", "description": "支付流程"}
    assert part(data["list"][0], expected) == expected
    assert data["pagination"] == {"page": 1, "page_size": 20, "total": 1}


def test_a_flow_shows_the_definition_as_it_was_posted(api: Api, flow_id: str) -> None:
    data = api.get(f"/api/v1/flows/{flow_id}").data

    expected = {"id": flow_id, "name": "payment_flow", "definition": '{"name":"payment_flow","tasks":[]}'}
    assert part(data, expected) == expected


def test_starting_a_transaction_answers_pending(api: Api, flow_id: str) -> None:
    data = api.post("/api/v1/transactions", TRANSACTION % flow_id).data

    assert data == {"instance_id": "order_001", "flow_id": flow_id, "status": "pending"}


def test_a_transaction_shows_its_tasks(api: Api, flow: Any) -> None:
    api.post("/api/v1/transactions", TRANSACTION % flow.pk)

    data = api.get("/api/v1/transactions/order_001").data

    expected = {"instance_id": "order_001", "flow_id": flow.pk, "status": "pending", "completed_at": None}
    assert part(data, expected) == expected
    assert TIME.fullmatch(data["created_at"])
    task = {"id": "order_001_deduct", "name": "扣款", "status": "pending"}
    assert [part(each, task) for each in data["tasks"]] == [task]


def test_retrying_a_failed_transaction_makes_it_pending(api: Api) -> None:
    fail_one("order_001", flow=make_flow())

    data = api.post("/api/v1/transactions/order_001/retry").data

    assert data == {"instance_id": "order_001", "status": "pending"}


def test_the_list_of_exceptions_shows_what_failed(api: Api) -> None:
    record = fail_one("order_001", flow=make_flow(), message="RPC call failed")

    data = api.get("/api/v1/exceptions?page=1&page_size=20&handled=false").data

    expected = {
        "id": record.pk,
        "task_id": "order_001_pay",
        "task_name": "Pay",
        "error_message": "RPC call failed",
        "handled": False,
    }
    assert [part(each, expected) for each in data["list"]] == [expected]
    assert data["pagination"] == {"page": 1, "page_size": 20, "total": 1}


def test_handling_an_exception_answers_handled(api: Api) -> None:
    record = fail_one("order_001", flow=make_flow())

    data = api.post(f"/api/v1/exceptions/{record.pk}/handle", {"remark": "人工确认问题已解决"}).data

    expected = {"exception_id": record.pk, "handled": True}
    assert part(data, expected) == expected
    assert api.get("/api/v1/exceptions?handled=true").data["list"][0]["remark"] == "人工确认问题已解决"


def test_retrying_an_exception_answers_when(api: Api) -> None:
    record = fail_one("order_001", flow=make_flow())

    data = api.post(f"/api/v1/exceptions/{record.pk}/retry").data

    assert (data["exception_id"], data["retry_scheduled"]) == (record.pk, True)
    assert TIME.fullmatch(data["retry_next_at"])


def test_the_overview_has_four_figures(api: Api) -> None:
    fail_one("order_001", flow=make_flow())

    data = api.get("/api/v1/stats/overview").data

    expected = {"total_transactions": 1, "success_rate": 0.0, "avg_duration": 0.0, "exceptions_today": 1}
    assert data == expected


def test_the_figures_of_a_flow_count_its_runs(api: Api) -> None:
    flow = make_flow()
    fail_one("order_001", flow=flow)

    data = api.get(f"/api/v1/stats/flows/{flow.pk}").data

    expected = {"flow_id": flow.pk, "total_runs": 1, "success_count": 0, "failed_count": 1}
    assert part(data, expected) == expected
