"""POST /api/v1/flows/validate and /simulate: what a flow would do, before it is registered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.models import Flow, TaskDefinition
from tests.api.conftest import Api
from transactions.models import Transaction

VALIDATE, SIMULATE = "/api/v1/flows/validate", "/api/v1/flows/simulate"
TASKS: list[dict[str, Any]] = [
    {"id": "pay", "type": "noop", "compensate": {}},
    {"id": "ship", "type": "noop", "depends_on": ["pay"]},
    {"id": "thank", "type": "noop", "depends_on": ["ship"]},
]
SOUND = {"on_failure": "compensate", "tasks": TASKS}


@pytest.mark.parametrize("definition", [SOUND, json.dumps(SOUND), {"tasks": []}])
def test_a_valid_definition_is_told_so_and_nothing_is_registered(api: Api, definition: Any) -> None:
    answer = api.post(VALIDATE, {"definition": definition})

    assert (answer.status, answer.data) == (200, {"valid": True, "problems": [], "warnings": []})
    assert not Flow.objects.exists()


def test_all_problems_of_a_definition_are_answered_with_path_and_hint(api: Api) -> None:
    tasks = [{"id": "a", "typ": "noop"}, {"id": "b", "type": "noop", "depends_on": ["c"]}]

    answer = api.post(VALIDATE, {"definition": {"tasks": tasks}})

    assert (answer.status, answer.data["valid"]) == (200, False)
    found = {each["path"]: (each["message"], each["hint"]) for each in answer.data["problems"]}
    assert found["tasks[0].typ"] == ("unknown key", "did you mean type?")
    assert found["tasks[1].depends_on[0]"] == ("there is no task c", "name a task of this flow, or leave it out")
    assert set(found) == {"tasks[0].typ", "tasks[0].type", "tasks[1].depends_on[0]"}


@pytest.mark.parametrize("definition", ["", "{", "[]", '{"tasks": [], "tasks": []}', {"tasks": [], "x": float("nan")}])
def test_a_definition_that_is_none_is_a_problem_not_an_error(api: Api, definition: Any) -> None:
    answer = api.post(VALIDATE, {"definition": definition})

    assert (answer.status, answer.data["valid"]) == (200, False)
    assert answer.data["problems"]


def test_the_body_of_a_registration_will_do(api: Api) -> None:
    body = {"name": "n", "flow_type": "t", "create_user": "me", "description": "", "definition": SOUND}

    assert api.post(VALIDATE, body).data["valid"] is True
    assert api.post(SIMULATE, body).data["status"] == "success"


@pytest.mark.parametrize("path", [VALIDATE, SIMULATE])
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "definition"),
        ({"definition": []}, "definition"),
        ({"definition": SOUND, "definitions": 1}, "definitions"),
        ({"definition": SOUND, "name": 1}, "name"),
        ([], ""),
    ],
)
def test_a_malformed_body_is_400(api: Api, path: str, body: Any, field: str) -> None:
    answer = api.post(path, body)

    assert (answer.status, answer.fields) == (400, {field})


def test_what_the_registry_says_counts(api: Api) -> None:
    TaskDefinition.objects.create(name="thanks", type="noop")

    answer = api.post(VALIDATE, {"definition": {"tasks": [{"id": "a", "task_name": "thanks"}]}})

    assert answer.data["valid"] is True


def test_a_simulation_says_what_runs_how_it_ends_and_what_is_undone(api: Api) -> None:
    answer = api.post(SIMULATE, {"definition": SOUND, "unknown": ["ship"]})

    data = answer.data
    assert (data["status"], data["compensation"]) == ("failed", "done")
    assert data["tasks"][1] == {
        "task_id": "ship",
        "name": "ship",
        "step": 2,
        "status": "failed",
        "maybe_executed": True,
        "optional": False,
    }
    assert data["never_started"] == [{"task_id": "thank", "name": "thank"}]
    assert data["exceptions"] == [{"task_id": "ship", "name": "ship", "op": "action", "maybe_executed": True}]
    assert (data["undo"]["by_itself"], data["undo"]["compensation"]) == (True, "done")
    undone = [(each["task_id"], each["step"], each["undo"], each["status"]) for each in data["undo"]["tasks"]]
    assert undone == [("ship", 1, False, None), ("pay", 1, True, "success")]
    assert not Flow.objects.exists() and not Transaction.objects.exists()


@pytest.mark.parametrize(
    ("scenario", "field", "message"),
    [
        ({"fail": ["pay", "shipp"]}, "fail[1]", "there is no task shipp"),
        ({"unknown": ["\0"]}, "unknown[0]", ""),
        ({"fail": ["pay"], "skip": ["pay"]}, "skip[0]", "pay is named under fail too"),
        ({"fail_undo": ["ship"]}, "fail_undo[0]", "the task ship has no compensate"),
        ({"fail": "pay"}, "fail", ""),
        ({"fail": [1]}, "fail[0]", ""),
    ],
)
def test_a_scenario_that_cannot_be_is_400(api: Api, scenario: dict[str, Any], field: str, message: str) -> None:
    answer = api.post(SIMULATE, {"definition": SOUND, **scenario})

    assert (answer.status, answer.fields) == (400, {field})
    assert message in answer.message


def test_an_invalid_definition_is_not_simulated(api: Api) -> None:
    answer = api.post(SIMULATE, {"definition": {"tasks": [{"id": "a", "type": "magic"}]}})

    assert (answer.status, answer.fields) == (400, {"tasks[0].type"})
