"""What a definition may say, and its author may not have meant: told apart from problems, and never a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from flows.models import Flow
from tests.api.conftest import Api

VALIDATE = "/api/v1/flows/validate"
UNDONE_BY_NOBODY = "changes something that nothing undoes: where the flow fails, this stays as it is"
READS = "undoes a call that changes nothing, and is made all the same"
PAY: dict[str, Any] = {"id": "pay", "type": "http", "config": {"url": "http://pay/pay"}}
LOOK: dict[str, Any] = {"id": "look", "type": "http", "config": {"url": "http://pay/look", "method": "GET"}}
UNDO = {"compensate": {"config": {"url": "http://pay/undo"}}}
UNCHECKED = {"kind": "http", "base_url": "https://pay", "tls": {"verify": False}}
CONNECTIONS = {
    "careless": UNCHECKED,
    "careless_rpc": {**UNCHECKED, "kind": "rpc"},
    "careful": {**UNCHECKED, "tls": {"verify": True}},
    "mq": {"kind": "mq", "url": "memory://"},
    "bank": {
        "kind": "db",
        "url": "postgresql://me@bank/bank",
        "tables": {"t": {"columns": ["a"], "operations": ["insert"]}},
    },
}


@pytest.fixture(autouse=True)
def registered(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": CONNECTIONS}


def body(*tasks: dict[str, Any], **head: Any) -> dict[str, Any]:
    return {"name": "n", "flow_type": "t", "create_user": "me", "definition": {"tasks": list(tasks), **head}}


def through(name: str, kind: str = "http") -> dict[str, Any]:
    config = {"connection": name} if kind == "http" else {"service": name, "method": "m"}
    return {"id": "pay", "type": kind, "config": config}


@pytest.mark.parametrize(
    "task",
    [
        PAY,
        {**PAY, "retry": {"strategy": "auto", "max_attempts": 3}},
        {**PAY, "config": {**PAY["config"], "method": "DELETE"}},
        {"id": "pay", "type": "rpc", "config": {"service": "pay", "method": "m"}},
        {"id": "pay", "type": "mq", "config": {"topic": "t"}},
        {"id": "pay", "config": {"connection": "bank", "operation": "insert", "table": "t", "values": {"a": 1}}},
    ],
)
def test_a_change_that_nothing_undoes_is_warned_of_where_failures_are_undone(api: Api, task: dict[str, Any]) -> None:
    answer = api.post(VALIDATE, body(LOOK, task, on_failure="compensate"))

    assert (answer.status, answer.data["valid"], answer.data["problems"]) == (200, True, [])
    (warning,) = answer.data["warnings"]
    assert (warning["path"], warning["message"]) == ("tasks[1].compensate", UNDONE_BY_NOBODY)
    assert warning["hint"].startswith('for example "compensate": {')


@pytest.mark.parametrize(
    ("task", "head"),
    [
        (PAY, {}),
        (PAY, {"on_failure": "wait"}),
        ({**PAY, **UNDO}, {"on_failure": "compensate"}),
        (LOOK, {"on_failure": "compensate"}),
        ({"id": "a", "type": "noop"}, {"on_failure": "compensate"}),
        ({"id": "a", "type": "wait", "config": {"seconds": 1}}, {"on_failure": "compensate"}),
        ({"id": "a", "type": "approval", **UNDO}, {"on_failure": "compensate"}),
        ({**through("careful"), **UNDO}, {}),
    ],
)
def test_what_is_as_it_should_be_is_not_warned_of(api: Api, task: dict[str, Any], head: dict[str, str]) -> None:
    assert api.post(VALIDATE, body(task, **head)).data == {"valid": True, "problems": [], "warnings": []}


def test_undoing_what_only_reads_is_warned_of(api: Api) -> None:
    answer = api.post(VALIDATE, body({**LOOK, **UNDO}))

    assert answer.data["warnings"] == [{"path": "tasks[0].compensate", "message": READS, "hint": "leave it out"}]


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (through("careless"), "tasks[0].config.connection"),
        (through("careless_rpc", "rpc"), "tasks[0].config.service"),
        ({**PAY, "compensate": {"config": {"connection": "careless"}}}, "tasks[0].compensate.config.connection"),
    ],
)
def test_a_connection_that_does_not_check_who_answers_is_warned_of(api: Api, task: dict[str, Any], path: str) -> None:
    (warning,) = api.post(VALIDATE, body(task)).data["warnings"]

    assert warning["path"] == path
    assert "tls.verify is false" in warning["message"]
    assert warning["hint"] == "give the connection the authority of its service as tls.ca"


def test_who_posts_a_flow_is_told_the_warnings_and_has_it_registered(api: Api) -> None:
    posted = api.post("/api/v1/flows", body({**LOOK, **UNDO}))
    changed = api.put(
        f"/api/v1/flows/{posted.data['id']}", {"definition": body(PAY, on_failure="compensate")["definition"]}
    )

    assert [each["message"] for each in posted.data["warnings"]] == [READS]
    assert [each["message"] for each in changed.data["warnings"]] == [UNDONE_BY_NOBODY]
    assert Flow.objects.count() == 2
    assert api.post("/api/v1/flows", body(PAY)).data["warnings"] == []


def test_what_is_refused_has_problems_and_no_warnings(api: Api) -> None:
    data = api.post(VALIDATE, body({**LOOK, **UNDO, "typ": 1})).data

    assert (data["valid"], [each["path"] for each in data["problems"]], data["warnings"]) == (
        False,
        ["tasks[0].typ"],
        [],
    )


def test_of_ten_thousand_warnings_the_first_hundred_are_told(api: Api) -> None:
    tasks = [{**PAY, "id": f"t{number}"} for number in range(10_000)]

    assert len(api.post(VALIDATE, body(*tasks, on_failure="compensate")).data["warnings"]) == 100
