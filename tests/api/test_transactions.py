"""/api/v1/transactions beyond the document's examples."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flows.models import Flow
from tests.api.conftest import Api
from tests.commands.rows import fail_one, make_flow, make_older, start_one, succeed_one
from transactions.models import Transaction


def ids(api: Api, query: str = "") -> list[str]:
    return [each["instance_id"] for each in api.get(f"/api/v1/transactions{query}").data["list"]]


def test_the_same_start_twice_is_one_transaction(api: Api, flow: Flow) -> None:
    body = {"instance_id": "i1", "flow_id": flow.pk, "params": {"a": 1}}

    assert api.post("/api/v1/transactions", body).data == api.post("/api/v1/transactions", body).data
    assert Transaction.objects.count() == 1


def test_the_same_id_for_something_else_is_409_and_changes_nothing(api: Api, flow: Flow) -> None:
    body = {"instance_id": "i1", "flow_id": flow.pk, "params": {"a": 1}}
    api.post("/api/v1/transactions", body)

    assert api.post("/api/v1/transactions", {**body, "params": {"a": 2}}).status == 409
    assert Transaction.objects.get().params == {"a": 1}


def test_a_flow_that_does_not_exist_is_404(api: Api) -> None:
    assert api.post("/api/v1/transactions", {"instance_id": "i1", "flow_id": "nope"}).status == 404


def test_the_actor_of_a_start_without_a_token_is_anonymous(api: Api, flow: Flow) -> None:
    api.post("/api/v1/transactions", {"instance_id": "i1", "flow_id": flow.pk})

    assert Transaction.objects.get().created_by == "anonymous"


def test_a_finished_transaction_shows_times_and_attempts(api: Api) -> None:
    succeed_one("i1", flow=make_flow())

    data = api.get("/api/v1/transactions/i1").data

    assert (data["status"], data["flow_version"], data["compensation"]) == ("success", 1, "none")
    assert data["duration"] >= 0
    assert (data["tasks"][0]["status"], data["tasks"][0]["attempt"]) == ("success", 1)


def test_a_failed_task_shows_its_error(api: Api) -> None:
    fail_one("i1", flow=make_flow(), message="no answer", code="TIMEOUT")

    task = api.get("/api/v1/transactions/i1").data["tasks"][0]

    assert (task["status"], task["error_code"], task["error_message"]) == ("failed", "TIMEOUT", "no answer")


def test_tasks_of_a_cancelled_transaction_that_never_ran_are_cancelled(api: Api, flow: Flow) -> None:
    start_one("i1", flow=flow)

    data = api.post("/api/v1/transactions/i1/cancel", {"remark": "not wanted"}).data

    assert data == {"instance_id": "i1", "status": "cancelled", "cancelling": False}
    assert [task["status"] for task in api.get("/api/v1/transactions/i1").data["tasks"]] == ["cancelled"]


def test_what_is_not_failed_cannot_be_retried(api: Api, flow: Flow) -> None:
    start_one("i1", flow=flow)

    answer = api.post("/api/v1/transactions/i1/retry")

    assert (answer.status, answer.data) == (400, None)
    assert "failed" in answer.message


@pytest.mark.parametrize("path", ["", "/retry", "/cancel", "/compensate", "/compensation", "/tasks", "/logs"])
@pytest.mark.parametrize("instance_id", ["nope", "%00", "a%20b", "x" * 65, ".."])
def test_an_unknown_or_malformed_id_is_404(api: Api, instance_id: str, path: str) -> None:
    is_verb = path in ("/retry", "/cancel", "/compensate")
    asked = ("POST", {"remark": "why"}) if is_verb else ("GET", None)

    assert api.ask(asked[0], f"/api/v1/transactions/{instance_id}{path}", asked[1]).status == 404


def test_task_runs_and_the_log_are_paged(api: Api) -> None:
    fail_one("i1", flow=make_flow())
    runs = api.get("/api/v1/transactions/i1/tasks").data
    api.post("/api/v1/transactions/i1/retry", {"remark": "again"})

    logs = api.get("/api/v1/transactions/i1/logs?page_size=1").data

    assert [(run["id"], run["op"], run["status"]) for run in runs["list"]] == [("i1_pay", "action", "failed")]
    assert len(logs["list"]) == 1 < logs["pagination"]["total"]
    following = api.get(f"/api/v1/transactions/i1/logs?page_size=1&after={logs['list'][0]['id']}").data["list"]
    assert following[0]["id"] > logs["list"][0]["id"]


def test_the_list_is_filtered(api: Api, flow: Flow) -> None:
    other = make_flow()
    start_one("a_1", flow=flow)
    start_one("a_2", flow=other)
    fail_one("b_1", flow=other)

    assert ids(api) == ["b_1", "a_2", "a_1"]
    assert ids(api, "?status=failed") == ["b_1"]
    assert ids(api, f"?flow={flow.pk}") == ["a_1"]
    assert ids(api, "?flow_name=orders&ordering=created_at") == ["a_2", "b_1"]
    assert ids(api, "?instance_id_prefix=a_") == ["a_2", "a_1"]
    assert ids(api, "?instance_id_prefix=a%25") == []


def test_the_list_is_filtered_by_time_the_end_not_included(api: Api, flow: Flow) -> None:
    for number in (1, 2):
        succeed_one(f"i{number}", flow=make_flow())
    make_older("i1", by=timedelta(days=1))
    moment = Transaction.objects.get(instance_id="i2").created_at.isoformat().replace("+00:00", "Z")

    assert ids(api, f"?created_after={moment}") == ["i2"]
    assert ids(api, f"?created_before={moment}") == ["i1"]


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "status=",
        "created_after=yesterday",
        "created_before=2024-99-01",
        "ordering=params",
        "page=0",
        "page=1.5",
        "page=-1",
        "page=٣",
        "page_size=0",
        "page_size=201",
        "page_size=10000",
        "page=1&page=2",
        "after=nope",
        "after=%00",
        "page=2&after=i1",
        "instance_id_prefix=%00",
        "flow_name=%00",
        "sort=id",
        "format=json",
    ],
)
def test_a_bad_query_parameter_is_400_and_named(api: Api, query: str) -> None:
    answer = api.get(f"/api/v1/transactions?{query}")

    assert answer.status == 400
    assert answer.fields <= {part.split("=")[0] for part in query.split("&")}
    assert answer.fields


def test_a_page_beyond_the_last_is_empty_with_the_right_total(api: Api, flow: Flow) -> None:
    start_one("i1", flow=flow)

    data = api.get("/api/v1/transactions?page=99999&page_size=200").data

    assert data == {"list": [], "pagination": {"page": 99999, "page_size": 200, "total": 1}}


@pytest.mark.parametrize("ordering", ["created_at", "-created_at", "id", "-id"])
def test_after_goes_on_where_the_last_page_ended(api: Api, flow: Flow, ordering: str) -> None:
    for number in range(5):
        start_one(f"i{number}", flow=flow)

    found: list[str] = []
    query = f"?ordering={ordering}&page_size=2"
    while page := ids(api, query + (f"&after={found[-1]}" if found else "")):
        found += page

    assert found == sorted(found, reverse=ordering.startswith("-"))
    assert len(found) == 5


def test_pages_far_down_are_refused_and_the_way_on_is_named(api: Api, flow: Flow) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO transactions_transaction (instance_id, flow_id)"
            " SELECT 'i' || n, %s FROM generate_series(1, 10500) AS n",
            [flow.pk],
        )

    assert api.get("/api/v1/transactions?page=50&page_size=200").status == 200
    answer = api.get("/api/v1/transactions?page=52&page_size=200")
    assert answer.status == 400
    assert "after=" in answer.message


@pytest.mark.parametrize("path", ["/api/v1/transactions", "/api/v1/transactions/i0"])
def test_the_number_of_queries_does_not_grow_with_the_rows(api: Api, path: str) -> None:
    flow = make_flow()

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert api.get(path).status == 200
        return len(queries)

    fail_one("i0", flow=flow)
    count()
    few = count()
    for number in range(1, 6):
        fail_one(f"i{number}", flow=flow)

    assert count() == few <= 2
