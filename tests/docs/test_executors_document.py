"""The examples of the page about task types are tasks and connections that this version takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dist_task.checks import check_connections
from dist_task.executors.base import executors
from flows.register import register
from flows.registry_rows import parse

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "executors.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
]
TASKS = [example for example in EXAMPLES if "id" in example]
CONNECTIONS = {name: value for example in EXAMPLES if "id" not in example for name, value in example.items()}


@pytest.fixture(autouse=True)
def registered(settings: Any, db: None) -> None:
    register(name="ship_order", flow_type="docs", definition={"tasks": []}, create_user="docs")
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": CONNECTIONS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["id"])
def test_a_task_is_taken_as_it_is_written_there(task: dict[str, Any]) -> None:
    assert parse({"tasks": [task]}, pinned={}).tasks[task["id"]].type == task["type"]


def test_connections_are_sound() -> None:
    assert CONNECTIONS
    assert check_connections(None) == []


def test_every_type_has_a_section_with_an_example() -> None:
    sections = set(re.findall(r"^## ([a-z]+)$", PAGE, flags=re.MULTILINE))

    assert set(executors()) == sections == {task["type"] for task in TASKS}
