"""POST /api/v1/transactions/batch"""

from __future__ import annotations

from typing import Any

from flows.models import Flow
from tests.api.conftest import Api
from transactions.models import Transaction

URL = "/api/v1/transactions/batch"


def test_each_start_has_its_own_result_in_order(api: Api, flow: Flow) -> None:
    items: list[Any] = [
        {"instance_id": "a", "flow_id": flow.pk},
        {"instance_id": "a", "flow_id": flow.pk, "params": {"other": 1}},
        {"instance_id": "a b", "flow_id": flow.pk},
        {"instance_id": "b", "flow_id": "nope"},
        {"instance_id": "c", "flow_id": flow.pk, "colour": "red"},
        17,
        {"instance_id": "d", "flow_id": flow.pk},
    ]

    answer = api.post(URL, {"transactions": items})

    assert answer.status == 200
    results = answer.data["results"]
    assert [each["code"] for each in results] == [0, 409, 400, 404, 400, 400, 0]
    assert results[0]["data"] == {"instance_id": "a", "flow_id": flow.pk, "status": "pending"}
    assert results[4]["data"]["errors"][0]["field"] == "colour"
    assert set(Transaction.objects.values_list("instance_id", flat=True)) == {"a", "d"}


def test_a_thousand_starts_are_taken_and_one_more_is_400(api: Api, flow: Flow) -> None:
    items = [{"instance_id": f"i{number}", "flow_id": flow.pk} for number in range(1001)]

    assert api.post(URL, {"transactions": items}).status == 400
    assert not Transaction.objects.exists()
    assert {each["code"] for each in api.post(URL, {"transactions": items[:1000]}).data["results"]} == {0}
    assert Transaction.objects.count() == 1000


def test_what_is_no_list_of_starts_is_400(api: Api) -> None:
    for body in ({}, {"transactions": []}, {"transactions": {}}, {"transactions": None}, [], {"items": []}):
        assert api.post(URL, body).status == 400


def test_the_address_of_batches_is_no_transaction(api: Api) -> None:
    assert api.get(URL).status == 405
