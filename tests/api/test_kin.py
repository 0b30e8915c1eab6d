"""What is answered of items, and of transactions that transactions start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dist_task.models import TaskRun
from flows.register import register
from tests.engine.conftest import begin, finished, make_flow
from tests.engine.worker import WorkerThread, wait_for

from .conftest import Api

PATH = "/api/v1/transactions"
ASK = {"id": "ask", "type": "approval", "foreach": "params.items", "compensate": {"type": "noop"}}


@pytest.fixture
def worker(transactional_db: None) -> Iterator[WorkerThread]:
    worker = WorkerThread().start()
    yield worker
    worker.stop()


@pytest.fixture
def asking(worker: WorkerThread, api: Api) -> str:
    """A transaction with three approvals that wait."""
    instance_id = begin(make_flow(ASK), params={"items": ["a", "b", "c"]}, instance_id="asking")
    wait_for(lambda: items_of(api)["waiting"] == 3)
    return instance_id


def items_of(api: Api) -> Any:
    (task,) = api.get(f"{PATH}/asking").data["tasks"]
    return task.get("items", {"waiting": 0})


def test_a_task_with_items_is_one_entry_that_says_how_they_stand(api: Api, asking: str) -> None:
    (task,) = api.get(f"{PATH}/{asking}").data["tasks"]

    assert task["status"] == "waiting"
    stand = {"pending": 0, "running": 0, "success": 0, "failed": 0, "skipped": 0, "cancelled": 0}
    assert task["items"] == {"total": 3, "waiting": 3, **stand}


def test_items_that_began_between_two_questions_are_not_counted_yet(api: Api, asking: str) -> None:
    """As if the task had had no list when that was asked for, a moment before."""
    TaskRun.objects.filter(transaction__instance_id=asking, item=-1).update(input=None)

    (task,) = api.get(f"{PATH}/{asking}").data["tasks"]

    assert (task["status"], "items" in task) == ("waiting", False)


def test_items_are_decided_one_by_one(api: Api, asking: str) -> None:
    assert api.post(f"{PATH}/{asking}/approve", {"task_id": "ask", "remark": "ok"}).status == 400
    assert api.post(f"{PATH}/{asking}/approve", {"task_id": "ask", "remark": "ok", "item": 3}).status == 400
    assert api.post(f"{PATH}/{asking}/approve", {"task_id": "ask", "remark": "ok", "item": -1}).fields == {"item"}

    for item in (2, 0):
        assert api.post(f"{PATH}/{asking}/approve", {"task_id": "ask", "remark": "ok", "item": item}).status == 200
    assert api.post(f"{PATH}/{asking}/reject", {"task_id": "ask", "item": 1, "remark": "no"}).status == 200

    assert finished(asking).status == "failed"
    assert (items_of(api)["success"], items_of(api)["failed"]) == (2, 1)
    (undo,) = api.get(f"{PATH}/{asking}/compensation").data["tasks"]
    assert (undo["task_id"], undo["undo"], undo["items"]) == ("ask", True, 2)


def test_items_are_paged_with_the_other_runs(api: Api, asking: str) -> None:
    found = api.get(f"{PATH}/{asking}/tasks?task_id=ask&status=waiting&op=action&page_size=3").data

    assert [run["item"] for run in found["list"]] == [-1, 0, 1]
    assert api.get(f"{PATH}/{asking}/tasks?task_id=other").data["list"] == []
    for query in ("status=odd", "op=odd", "task_id=%00", "item=1"):
        assert api.get(f"{PATH}/{asking}/tasks?{query}").status == 400


def test_parent_and_child_name_each_other(worker: WorkerThread, api: Api) -> None:
    ship = make_flow({"id": "book", "type": "noop"})
    finished(begin(make_flow({"id": "ship", "type": "subflow", "config": {"flow": ship.name}}), instance_id="top"))

    (task,) = api.get(f"{PATH}/top").data["tasks"]
    assert task["child"] == "top.ship"
    child = api.get(f"{PATH}/top.ship").data
    assert child["parent"] == {"instance_id": "top", "task_id": "ship", "op": "action", "item": -1}
    assert api.get(f"{PATH}/top").data["parent"] is None
    assert [each["instance_id"] for each in api.get(f"{PATH}?parent=top").data["list"]] == ["top.ship"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"flow": "nobody"}, "there is no active flow"),
        ({"flow_id": "nobody"}, "there is no active flow"),
        ({}, "either flow, a name, or flow_id"),
        ({"flow": "x", "flow_id": "y"}, "either flow, a name, or flow_id"),
        ({"flow": 7}, "must be a text"),
        ({"flow": "${params.flow}"}, "a template is refused here"),
    ],
)
def test_a_subflow_that_cannot_run_is_refused_when_it_is_posted(api: Api, config: Any, words: str) -> None:
    definition = {"tasks": [{"id": "a", "type": "subflow", "config": config}]}
    body = {"name": "sub", "flow_type": "t", "definition": definition, "create_user": "ada"}

    answer = api.post("/api/v1/flows", body)

    assert answer.status == 400
    assert words in str(answer.body), answer.body


def test_secrets_are_refused_in_the_parameters_of_a_transaction(api: Api) -> None:
    """They would be stored there as they are named, and handed on so to the services that its tasks call."""
    name = make_flow({"id": "a", "type": "noop"}).name
    task = {"id": "a", "type": "subflow", "config": {"flow": name}, "input": {"key": "${secrets.KEY}"}}
    body = {"name": "sub", "flow_type": "t", "definition": {"tasks": [task]}, "create_user": "ada"}

    answer = api.post("/api/v1/flows", body)

    assert answer.status == 400
    assert "no secret may be in them" in str(answer.body), answer.body


def test_a_subflow_that_is_registered_is_accepted(api: Api) -> None:
    register(name="ship", flow_type="t", definition={"tasks": []}, create_user="ada")
    definition = {"tasks": [{"id": "a", "type": "subflow", "config": {"flow": "ship"}}]}

    assert register(name="sub", flow_type="t", definition=definition, create_user="ada").version == 1


@pytest.mark.parametrize("items", ["not a list", ["a", "b", "c"], {"a": 1}, None])
def test_a_parameter_of_that_name_is_not_taken_for_items(worker: WorkerThread, api: Api, items: Any) -> None:
    each = {"id": "each", "type": "noop", "foreach": "[1, 2]"}
    then = {"id": "then", "type": "noop", "depends_on": ["each"]}
    finished(begin(make_flow(each, then), params={"items": items}, instance_id="named"))

    first, second = api.get(f"{PATH}/named").data["tasks"]

    assert (first["items"]["total"], first["items"]["success"]) == (2, 2)
    assert "items" not in second
