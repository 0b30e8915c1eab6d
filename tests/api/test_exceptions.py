"""/api/v1/exceptions beyond the document's examples."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exceptions_app.models import ExceptionRecord
from tests.api.conftest import Api
from tests.commands.rows import fail_one, make_flow

URL = "/api/v1/exceptions"


def test_an_exception_shows_what_is_known_about_it(api: Api) -> None:
    record = fail_one("i1", flow=make_flow(), code="TIMEOUT")

    data = api.get(f"{URL}/{record.pk}").data

    assert (data["task_id"], data["task"], data["instance_id"]) == ("i1_pay", "pay", "i1")
    assert (data["status"], data["error_code"], data["occurrences"]) == ("open", "TIMEOUT", 1)


def test_the_list_is_filtered(api: Api) -> None:
    first = fail_one("i1", flow=make_flow())
    second = fail_one("i2", flow=make_flow(name="other"))
    api.post(f"{URL}/{first.pk}/handle")

    def found(query: str) -> list[int]:
        return [each["id"] for each in api.get(f"{URL}?{query}").data["list"]]

    assert found("page=1") == [second.pk, first.pk]
    assert found("handled=true") == [first.pk]
    assert found("handled=false") == [second.pk]
    assert found("status=open") == [second.pk]
    assert found(f"flow={first.flow_id}") == [first.pk]
    assert found("flow_name=other") == [second.pk]
    assert found("task=pay&instance_id=i1") == [first.pk]
    assert found(f"after={second.pk}") == [first.pk]


@pytest.mark.parametrize("query", ["handled=perhaps", "handled=", "status=new", "page=0", "page_size=10000", "x=1"])
def test_a_bad_query_parameter_is_400(api: Api, query: str) -> None:
    assert api.get(f"{URL}?{query}").fields == {query.split("=")[0]}


def test_an_exception_is_handled_once(api: Api) -> None:
    record = fail_one("i1", flow=make_flow())

    answer = api.post(f"{URL}/{record.pk}/handle", {"remark": "done", "resolution": "fixed_externally"})

    assert answer.data["resolution"] == "fixed_externally"
    assert api.post(f"{URL}/{record.pk}/handle").status == 400
    assert api.post(f"{URL}/{record.pk}/retry").status == 400
    record.refresh_from_db()
    assert (record.handled_by, record.remark) == ("anonymous", "done")


def test_no_retry_needs_force(api: Api) -> None:
    record = fail_one("i1", flow=make_flow(strategy="no_retry"))

    assert api.post(f"{URL}/{record.pk}/retry").status == 400
    assert api.post(f"{URL}/{record.pk}/retry", {"force": True, "delay": 0}).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"delay": "5"},
        {"delay": -1},
        {"delay": True},
        {"delay": 10**9},
        {"force": "yes"},
        {"force": 1},
        {"remark": 5},
        {"when": 1},
        [],
        "null",
    ],
)
def test_a_bad_body_of_retry_is_400_and_changes_nothing(api: Api, body: object) -> None:
    record = fail_one("i1", flow=make_flow())

    assert api.post(f"{URL}/{record.pk}/retry", body).status == 400
    assert ExceptionRecord.objects.get().retry_next_at is None


@pytest.mark.parametrize("body", [{"resolution": "forgotten"}, {"remark": None}, {"remark": "x" * 2001}, {"y": 1}])
def test_a_bad_body_of_handle_is_400_and_changes_nothing(api: Api, body: object) -> None:
    record = fail_one("i1", flow=make_flow())

    assert api.post(f"{URL}/{record.pk}/handle", body).status == 400
    assert not ExceptionRecord.objects.get().handled


@pytest.mark.parametrize("number", ["0", "1", "-1", "x", "9" * 18, "9" * 19, "9" * 30, "%00", "1.0", "１"])
def test_an_unknown_or_malformed_id_is_404(api: Api, number: str) -> None:
    assert api.get(f"{URL}/{number}").status == 404
    assert api.post(f"{URL}/{number}/handle").status == 404
    assert api.post(f"{URL}/{number}/retry").status == 404


def test_the_number_of_queries_does_not_grow_with_the_rows(api: Api) -> None:
    flow = make_flow()

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            api.get(URL)
        return len(queries)

    fail_one("i0", flow=flow)
    few = count()
    for number in range(1, 6):
        fail_one(f"i{number}", flow=flow)

    assert count() == few <= 2
