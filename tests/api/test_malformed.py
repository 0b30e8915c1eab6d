"""Every malformed field of a flow is a 400 that names path, problem and hint, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dist_task.executors.base import executors
from flows.hints import EXAMPLES
from flows.models import Flow
from tests.api.conftest import Answer, Api

from .malformed import VALUES, Place, documented, in_tables, places

DOCS = Path(__file__).resolve().parents[2] / "docs"
BANK = {
    "kind": "db",
    "url": "postgresql://me@bank:5432/bank",
    "tables": {"accounts": {"columns": ["id", "a"], "operations": ["update", "upsert"]}},
}
CONNECTIONS = {
    "mq": {"kind": "mq", "url": "memory://", "topics": ["*"]},
    "payment": {"kind": "http", "base_url": "http://pay"},
    "bank": BANK,
}
NEW = {"name": "n", "flow_type": "t", "create_user": "me", "definition": {"tasks": []}}


@pytest.fixture(autouse=True)
def registered(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": CONNECTIONS, "PUBLIC_URL": "http://tasks.example.com"}


def body(definition: str) -> str:
    head = json.dumps({key: value for key, value in NEW.items() if key != "definition"})
    return f'{head[:-1]}, "definition": {definition}}}'


def fault_of(answer: Answer, *, path: str) -> str:
    """Why it is no such 400; "" where it is one."""
    if answer.status != 400:
        return f"{answer.status}: {answer.message}"
    errors = (answer.data or {}).get("errors", [])
    if not any(each["field"].startswith(path) for each in errors):
        return f"names {answer.fields or answer.message}"
    if lacking := [each for each in errors if not each["field"] or not each["message"] or not each.get("hint")]:
        return f"lacks something: {lacking}"
    return ""


def test_the_tables_have_every_key_and_each_has_an_example() -> None:
    assert {place: sorted(keys) for place, keys in in_tables().items()} == {
        place: sorted(keys) for place, keys in documented().items()
    }
    assert {key for place in ("flow", "task", "retry", "compensate") for key in documented()[place]} <= EXAMPLES.keys()


@pytest.mark.parametrize("place", list(places()), ids=str)
def test_a_malformed_value_is_refused_with_path_problem_and_hint(api: Api, place: Place) -> None:
    found = {
        name: fault
        for name in place.faults()
        for text in (place.definition(VALUES[name]), json.dumps(place.definition(VALUES[name])))
        if (fault := fault_of(api.post("/api/v1/flows", body(text)), path=place.path))
    }

    assert found == {}
    assert not Flow.objects.exists()


@pytest.mark.parametrize("place", list(places()), ids=str)
def test_what_the_tables_call_fitting_is_no_500(api: Api, place: Place) -> None:
    fitting = VALUES.keys() - set(place.faults())

    assert {api.post("/api/v1/flows", body(place.definition(VALUES[name]))).status for name in fitting} <= {200, 400}


def test_a_put_says_the_same(api: Api, flow: Flow) -> None:
    found = {
        str(place): fault
        for place in places()
        for text in (f'{{"definition": {place.definition("-17.5")}}}',)
        if (fault := fault_of(api.ask("PUT", f"/api/v1/flows/{flow.pk}", text), path=place.path))
    }

    assert found == {}
    assert Flow.objects.count() == 1


@pytest.mark.parametrize("key", ["name", "flow_type", "create_user", "description", "definition", "is_active", "nmae"])
@pytest.mark.parametrize("value", [None, 5, [], "\0", "\ud800", "x" * 20_000, 2**70, float("inf")], ids=ascii)
def test_so_does_what_is_around_the_definition(api: Api, key: str, value: Any) -> None:
    answer = api.post("/api/v1/flows", {**NEW, key: value})

    assert fault_of(answer, path=key) == ""


@pytest.mark.parametrize("key", [key for key in NEW if key != "description"])
def test_a_missing_field_is_named_with_a_hint(api: Api, key: str) -> None:
    answer = api.post("/api/v1/flows", {name: value for name, value in NEW.items() if name != key})

    assert fault_of(answer, path=key) == ""


def test_what_is_nested_beyond_reading_is_named_as_a_whole(api: Api) -> None:
    deep = f'{{"tasks": {"[" * 2_000}{"]" * 2_000}}}'

    assert fault_of(api.post("/api/v1/flows", body(deep)), path="body") == ""
    assert fault_of(api.post("/api/v1/flows", body(json.dumps(deep))), path="definition") == ""


def test_put_cannot_rename_and_says_what_to_do(api: Api, flow: Flow) -> None:
    assert fault_of(api.put(f"/api/v1/flows/{flow.pk}", {"name": "other"}), path="name") == ""


@pytest.mark.parametrize("where", ["", "tasks[0]", "tasks[0].retry", "tasks[0].compensate", "tasks[0].config"])
def test_an_unknown_key_is_met_with_those_that_are_known(api: Api, where: str) -> None:
    task: dict[str, Any] = {"id": "a", "type": "http", "config": {"url": "http://pay"}, "retry": {}, "compensate": {}}
    task["compensate"]["config"] = {"url": "http://pay"}
    flow: dict[str, Any] = {"tasks": [task]}
    target = {"": flow, "tasks[0]": task}.get(where)
    (task[where.removeprefix("tasks[0].")] if target is None else target)["zebra"] = 1

    (error,) = api.post("/api/v1/flows", {**NEW, "definition": flow}).data["errors"]

    assert error["field"] == f"{where}.zebra".removeprefix(".")
    assert error["hint"].startswith("known are: ")


def test_the_message_names_the_hint_too(api: Api) -> None:
    answer = api.post("/api/v1/flows", {**NEW, "definition": {"tasks": [{"id": "a", "typ": "noop", "type": "noop"}]}})

    assert answer.message == "tasks[0].typ: unknown key (did you mean type?)"
    assert answer.data == {
        "errors": [{"field": "tasks[0].typ", "message": "unknown key", "hint": "did you mean type?"}]
    }


def test_the_documents_name_every_key() -> None:
    pages = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("flow-language.md", "executors.md"))
    named = set(re.findall(r"`([a-z_0-9]+)(?:: [^`]*)?`", pages))

    assert {key for keys in documented().values() for key in keys} - named == set()


def test_every_example_of_a_config_is_one_of_a_known_key() -> None:
    """A task that has nothing but it is refused for nothing that is said of this key."""
    for kind, executor in executors().items():
        for key, value in getattr(executor, "examples", {}).items():
            said = [each for each in executor.check_config({key: value}) if getattr(each, "key", "") == key]
            assert not [each for each in said if "unknown key" in each], (kind, key)
