"""The configuration of `python` tasks is judged when a flow is posted; modules of tasks when the service starts."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps

from dist_task.checks import check_task_modules
from dist_task.executors.base import executors
from dist_task.executors.python import PythonExecutor
from flows.models import TaskDefinition
from flows.register import examine

MODULE = "tests.executors.functions"


@pytest.fixture(autouse=True)
def modules(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "TASK_MODULES": (MODULE,)}


@pytest.fixture
def broken(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module beside ours that cannot be imported."""
    (tmp_path / "broken_tasks.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings.DIST_TASK = {**settings.DIST_TASK, "TASK_MODULES": ("broken_tasks", MODULE)}


def problems(config: dict[str, Any]) -> list[str]:
    return PythonExecutor().check_config(config)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "function is required: the name that a function is registered under"),
        ({"function": 7}, "function is required: the name that a function is registered under"),
        ({"function": "guardet"}, "no function named guardet is registered; did you mean guarded?"),
        ({"function": "xyzzy"}, "no function named xyzzy is registered"),
        ({"function": "add", "retries": 3}, "unknown key retries; known are function"),
    ],
)
def test_every_problem_is_a_sentence(config: dict[str, Any], sentence: str) -> None:
    assert problems(config) == [sentence]


def test_a_sound_one_has_none() -> None:
    assert problems({"function": "add"}) == []


def test_a_module_that_cannot_be_imported_is_named_and_takes_no_other_along(broken: None) -> None:
    assert problems({"function": "add"}) == []
    assert problems({"function": "xyzzy"}) == [
        "no function named xyzzy is registered; not all task modules could be used:"
        " broken_tasks: ModuleNotFoundError: No module named 'no_such_module'"
    ]


def test_the_system_check_names_it(broken: None) -> None:
    (error,) = check_task_modules(None)

    assert error.id == "dist_task.E007"
    assert error.msg == "'broken_tasks' offers no tasks: ModuleNotFoundError: No module named 'no_such_module'."


def test_functions_need_a_process(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "PYTHON_PROCESSES": 0}

    assert [error.msg for error in check_task_modules(None)] == ["PYTHON_PROCESSES must be 1 or more."]


def test_a_sound_module_passes_the_system_check() -> None:
    assert check_task_modules(None) == []


@pytest.mark.django_db
def test_a_flow_is_refused_with_the_path_of_what_is_wrong() -> None:
    tasks = [
        {"id": "a", "type": "python", "config": {"function": "ad"}},
        {"id": "b", "config": {"function": "${params.function}"}},
        {"id": "c", "task_name": "python", "config": {"function": "add"}, "compensate": {"config": {"function": "ud"}}},
    ]

    found = {problem.path: problem.message for problem in examine({"tasks": tasks}).problems}

    assert found["tasks[0].config.function"] == "no function named ad is registered; did you mean add?"
    assert found["tasks[2].compensate.config.function"].startswith("no function named ud is registered")
    assert "tasks[1].config.function" in found
    assert len(found) == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "sentences"),
    [
        ({"a": 1, "b": "${params.b}"}, []),
        ({"a": "${params.a}"}, []),
        ({"a": "${params.a} and more"}, []),
        ({"a": "many"}, ["a: must be a whole number"]),
        ({"b": 1}, ["a: is required (int)"]),
        ({"a": None}, ["a: is required (int)"]),
        ({"a": 1, "bb": 2.5}, ["add takes no bb; it takes a, b"]),
    ],
)
def test_an_input_block_is_judged_as_far_as_it_is_known(given: dict[str, Any], sentences: list[str]) -> None:
    task = {"id": "t", "type": "python", "config": {"function": "add"}}
    undo = {"config": {"function": "add"}, "input": given}
    paths = {"tasks[0].input": {**task, "input": given}, "tasks[0].compensate.input": {**task, "compensate": undo}}

    for path, written in paths.items():
        found = examine({"tasks": [written]}).problems
        assert [problem.message for problem in found] == sentences
        assert all(problem.path.startswith(path) and "add takes: a, b" in problem.hint for problem in found)


@pytest.mark.django_db
def test_without_an_input_block_the_params_are_judged_when_it_begins() -> None:
    assert examine({"tasks": [{"id": "t", "type": "python", "config": {"function": "add"}}]}).problems == []


@pytest.mark.django_db
def test_the_registry_ships_its_plain_entry() -> None:
    import_module("flows.migrations.0007_python").ship(apps, None)  # tests that empty all tables may have come before

    assert TaskDefinition.objects.get(name="python").type == "python"


def test_a_function_has_its_own_cap(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "PYTHON_PROCESSES": 3, "SLOTS_PER_TARGET": 9}
    executor = executors()["python"]
    caps = {name: executor.caps[executor.target({"function": name})] for name in ("add", "only_one", "in_thread")}  # type: ignore[attr-defined]

    assert caps == {"add": 3, "only_one": 1, "in_thread": 9}
    assert executor.caps.get("shop.example.com", 64) == 64  # type: ignore[attr-defined]
