"""The examples of the page about task types are tasks and connections that this version takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from dist_task.barrier import create_table
from dist_task.checks import check_connections
from dist_task.errors import ExecutionError
from dist_task.executors.base import TaskCall, executors
from dist_task.executors.python.catalogue import CATALOGUE
from dist_task.executors.python.inside import execute
from flows.register import register
from flows.registry_rows import parse

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "executors.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
]
TASKS = [example for example in EXAMPLES if "id" in example]
FUNCTIONS = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "@task" in block)
CONNECTIONS = {name: value for example in EXAMPLES if "id" not in example for name, value in example.items()}


@pytest.fixture(autouse=True)
def registered(settings: Any, db: None, functions: str) -> None:
    register(name="ship_order", flow_type="docs", definition={"tasks": []}, create_user="docs")
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": CONNECTIONS, "TASK_MODULES": (functions,)}


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A module of what is written there."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "documented_functions.py").write_text(FUNCTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "documented_functions"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["id"])
def test_a_task_is_taken_as_it_is_written_there(task: dict[str, Any]) -> None:
    assert parse({"tasks": [task]}, pinned={}).tasks[task["id"]].type == task["type"]


@pytest.mark.django_db(transaction=True)
def test_the_functions_do_their_work_once_and_undo_it_once() -> None:
    CATALOGUE.load()
    create_table(connection)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE stock (sku text, amount int)")
        cursor.execute("INSERT INTO stock VALUES ('shoe', 5)")
    try:
        taken = [call("stock.reserve", op="action", count=2) for _attempt in range(2)]
        with pytest.raises(ExecutionError, match="shoe is sold out"):
            call("stock.reserve", op="action", task_id="more", count=9)
        left = [amount()]
        for _attempt in range(2):
            call("stock.release", op="compensate", count=2)
            call("stock.release", op="compensate", task_id="more", count=9)
        left.append(amount())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE stock, dist_task_barrier")

    assert taken == [{"sku": "shoe", "count": 2}] * 2
    assert left == [3, 5]


def call(name: str, *, op: str, task_id: str = "reserve", count: int) -> Any:
    attempt = TaskCall("order_1", task_id, op, -1, 1, {"function": name}, {"sku": "shoe", "count": count}, 20.0)
    return execute(attempt).output


def amount() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT amount FROM stock")
        found: int = cursor.fetchone()[0]
    return found


def test_connections_are_sound() -> None:
    assert CONNECTIONS
    assert check_connections(None) == []


def test_every_type_has_a_section_with_an_example() -> None:
    sections = set(re.findall(r"^## ([a-z]+)$", PAGE, flags=re.MULTILINE))

    assert set(executors()) == sections == {task["type"] for task in TASKS}
