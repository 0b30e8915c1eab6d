"""A problem says what may have been meant, where a word is close to one that is known."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.problems import Problem
from flows.definition import FlowDefinition, InvalidDefinition
from flows.registry import RegisteredTask

REGISTRY = {"deduct": RegisteredTask(name="deduct", type="http"), "notify": RegisteredTask(name="notify", type="http")}


def problems_of(data: dict[str, Any]) -> list[Problem]:
    kinds = {"http": lambda config: [], "noop": lambda config: []}
    with pytest.raises(InvalidDefinition) as refused:
        FlowDefinition.parse(data, registry=REGISTRY, kinds=kinds)
    return refused.value.problems


def task(task_id: str = "ship", **more: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "noop", **more}


@pytest.mark.parametrize(
    ("second", "path", "word"),
    [
        (task(depend_on=["reserve"]), "tasks[1].depend_on", "depends_on"),
        (task(depends_on=["resrve"]), "tasks[1].depends_on[0]", "reserve"),
        ({"id": "ship", "type": "htpp"}, "tasks[1].type", "http"),
        ({"id": "ship", "task_name": "dedutc"}, "tasks[1].task_name", "deduct"),
        (task(retry={"max_attempt": 3}), "tasks[1].retry.max_attempt", "max_attempts"),
        (task(retry={"strategy": "automatic"}), "tasks[1].retry.strategy", ""),
        (task(retry={"backoff": "exponental"}), "tasks[1].retry.backoff", "exponential"),
        (task(compensate={"confg": {}}), "tasks[1].compensate.confg", "config"),
        (task(input={"x": "${parms.x}"}), "tasks[1].input.x", "params"),
        (task(input={"x": "${tasks.reserv.output}"}), "tasks[1].input.x", "reserve"),
        (task(input={"x": "${tasks.reserve.output}"}), "tasks[1].input.x", ""),
        (task(depends_on=["ship"]), "tasks[1].depends_on[0]", ""),
        (task(depends_on=[{"reserve": 1}]), "tasks[1].depends_on[0]", ""),
        (task(zebra=1), "tasks[1].zebra", ""),
        (task(**{"depends_on" * 10: 1}), None, ""),
    ],
)
def test_a_misspelt_word_is_met_with_the_one_that_was_meant(second: Any, path: str | None, word: str) -> None:
    problem = problems_of({"tasks": [task("reserve"), second]})[0]

    assert path is None or problem.path == path
    assert problem.hint == (f"did you mean {word}?" if word else "")
    assert str(problem) == f"{problem.path}: {problem.message}" + (f" ({problem.hint})" if word else "")


def test_a_misspelt_name_is_found_among_ten_thousand() -> None:
    tasks = [task(f"task_{index}") for index in range(9_999)]

    problems = problems_of({"tasks": [*tasks, task(depends_on=["tsk_777"])]})

    assert [each.hint for each in problems] == ["did you mean task_777?"]


def test_ten_thousand_misspelt_names_are_not_all_compared() -> None:
    tasks = [task(f"task_{index}", depends_on=[f"tsk_{index}"]) for index in range(10_000)]

    hints = [each.hint for each in problems_of({"tasks": tasks})]

    assert hints[0] == "did you mean task_0?"
    assert 1 <= len([hint for hint in hints if hint]) < 10
