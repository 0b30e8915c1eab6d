"""/api/v1/flows beyond the document's examples."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flows.models import Flow
from flows.register import register
from tests.api.conftest import Api

NEW: dict[str, Any] = {
    "name": "orders",
    "flow_type": "order",
    "definition": {"tasks": [{"id": "a", "type": "noop"}]},
    "create_user": "me",
}
OTHER = {"tasks": [{"id": "b", "type": "noop"}]}


def test_posting_another_definition_of_a_name_makes_the_next_version(api: Api) -> None:
    first = api.post("/api/v1/flows", NEW).data

    second = api.post("/api/v1/flows", {**NEW, "definition": OTHER}).data

    assert (first["version"], second["version"]) == (1, 2)
    assert first["id"] != second["id"]


def test_posting_the_latest_version_again_answers_that_version(api: Api) -> None:
    first = api.post("/api/v1/flows", NEW).data

    again = api.post("/api/v1/flows", {**NEW, "definition": json.dumps(NEW["definition"], indent=2)}).data

    assert again == first
    assert Flow.objects.count() == 1


def test_going_back_to_an_older_definition_is_a_new_version(api: Api) -> None:
    for definition in (NEW["definition"], OTHER, NEW["definition"]):
        data = api.post("/api/v1/flows", {**NEW, "definition": definition}).data

    assert data["version"] == 3


def test_a_definition_is_answered_as_an_object_when_asked_for(api: Api) -> None:
    flow_id = api.post("/api/v1/flows", NEW).data["id"]

    assert api.get(f"/api/v1/flows/{flow_id}?definition=object").data["definition"] == NEW["definition"]
    assert json.loads(api.get(f"/api/v1/flows/{flow_id}").data["definition"]) == NEW["definition"]
    assert api.get(f"/api/v1/flows/{flow_id}?definition=yaml").fields == {"definition"}


def test_every_problem_of_a_definition_is_reported_with_its_path(api: Api) -> None:
    definition = {"tasks": [{"id": "a", "type": "noop", "depends_on": ["x"]}, {"id": "a", "type": "teleport"}]}

    answer = api.post("/api/v1/flows", {**NEW, "definition": definition})

    assert answer.status == 400
    assert {"tasks[0].depends_on[0]", "tasks[1].id", "tasks[1].type"} <= answer.fields
    assert not Flow.objects.exists()


def test_put_changes_the_description_and_whether_it_is_active(api: Api, flow: Flow) -> None:
    data = api.put(f"/api/v1/flows/{flow.pk}", {"description": "new", "is_active": False}).data

    assert (data["id"], data["description"], data["is_active"]) == (flow.pk, "new", False)


def test_put_of_a_changed_definition_makes_the_next_version(api: Api, flow: Flow) -> None:
    data = api.put(f"/api/v1/flows/{flow.pk}", {"definition": OTHER, "description": "two"}).data

    assert (data["version"], data["description"]) == (2, "two")
    assert data["id"] != flow.pk
    assert api.get(f"/api/v1/flows/{flow.pk}").data["definition"] == flow.definition


def test_put_of_the_same_definition_stays_with_its_version(api: Api, flow: Flow) -> None:
    data = api.put(f"/api/v1/flows/{flow.pk}", {"definition": json.loads(flow.definition)}).data

    assert (data["id"], data["version"]) == (flow.pk, 1)


def test_put_of_a_bad_definition_changes_nothing(api: Api, flow: Flow) -> None:
    body = {"definition": "{", "description": "new"}

    assert api.put(f"/api/v1/flows/{flow.pk}", body).status == 400
    assert list(Flow.objects.values_list("description", flat=True)) == [flow.description]


def test_put_cannot_rename(api: Api, flow: Flow) -> None:
    assert api.put(f"/api/v1/flows/{flow.pk}", {"name": "other"}).fields == {"name"}


def test_a_deactivated_flow_cannot_be_started_until_it_is_activated(api: Api, flow: Flow) -> None:
    start = {"instance_id": "i1", "flow_id": flow.pk}

    assert api.post(f"/api/v1/flows/{flow.pk}/deactivate").data["is_active"] is False
    assert api.post("/api/v1/transactions", start).status == 400
    assert api.post(f"/api/v1/flows/{flow.pk}/activate").data["is_active"] is True
    assert api.post("/api/v1/transactions", start).status == 200


def test_a_deleted_flow_is_gone_for_clients_but_its_row_stays(api: Api, flow: Flow) -> None:
    assert api.delete(f"/api/v1/flows/{flow.pk}").data == {"id": flow.pk, "deleted": True}

    assert api.get(f"/api/v1/flows/{flow.pk}").status == 404
    assert api.get("/api/v1/flows").data["list"] == []
    assert api.post("/api/v1/transactions", {"instance_id": "i1", "flow_id": flow.pk}).status == 404
    assert api.delete(f"/api/v1/flows/{flow.pk}").status == 404
    assert Flow.objects.filter(pk=flow.pk).exists()


def test_posting_a_deleted_definition_again_makes_a_new_version(api: Api) -> None:
    first = api.post("/api/v1/flows", NEW).data
    api.delete(f"/api/v1/flows/{first['id']}")

    assert api.post("/api/v1/flows", NEW).data["version"] == 2


def test_flows_are_filtered_and_the_newest_comes_first(api: Api) -> None:
    for name, kind in (("a", "x"), ("b", "y"), ("c", "y")):
        register(name=name, flow_type=kind, definition=OTHER, create_user="me")
    api.post(f"/api/v1/flows/{Flow.objects.get(name='b').pk}/deactivate")

    def names(query: str) -> list[str]:
        return [each["name"] for each in api.get(f"/api/v1/flows{query}").data["list"]]

    assert names("") == ["c", "b", "a"]
    assert names("?name=a") == ["a"]
    assert names("?flow_type=y") == ["c", "b"]
    assert names("?flow_type=y&is_active=true") == ["c"]


@pytest.mark.parametrize("flow_id", ["nope", "%00", "a" * 100, "%E6%94%AF", "..%2F", "-1"])
def test_an_unknown_or_malformed_id_is_404(api: Api, flow_id: str) -> None:
    assert api.get(f"/api/v1/flows/{flow_id}").status == 404


def test_a_trailing_slash_is_tolerated(api: Api, flow: Flow) -> None:
    assert api.get(f"/api/v1/flows/{flow.pk}/").data["id"] == flow.pk
    assert api.post("/api/v1/flows/", NEW).status == 200


def test_the_list_needs_the_same_number_of_queries_for_any_number_of_rows(api: Api) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            api.get("/api/v1/flows")
        return len(queries)

    register(name="f0", flow_type="t", definition=OTHER, create_user="me")
    few = count()
    for number in range(1, 10):
        register(name=f"f{number}", flow_type="t", definition=OTHER, create_user="me")

    assert count() == few <= 2


@pytest.mark.django_db(transaction=True)
def test_many_who_post_one_definition_at_once_get_one_version() -> None:
    def post(_number: int) -> int:
        try:
            return Api().post("/api/v1/flows", NEW).data["version"]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(post, range(8)))

    assert versions == [1] * 8
