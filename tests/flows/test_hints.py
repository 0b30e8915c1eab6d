"""Every problem has a hint: what may have been meant, where a word is close to one that is known, else what to do."""

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
        (task(retry={"backoff": "exponental"}), "tasks[1].retry.backoff", "exponential"),
        (task(compensate={"confg": {}}), "tasks[1].compensate.confg", "config"),
        (task(input={"x": "${parms.x}"}), "tasks[1].input.x", "params"),
        (task(input={"x": "${tasks.reserv.output}"}), "tasks[1].input.x", "reserve"),
    ],
)
def test_a_misspelt_word_is_met_with_the_one_that_was_meant(second: Any, path: str, word: str) -> None:
    problem = problems_of({"tasks": [task("reserve"), second]})[0]

    assert (problem.path, problem.hint) == (path, f"did you mean {word}?")
    assert str(problem) == f"{problem.path}: {problem.message} ({problem.hint})"


@pytest.mark.parametrize(
    ("second", "hint"),
    [
        (task(retry={"strategy": "automatic"}), 'for example "strategy": "auto"'),
        (task(timeout="soon"), 'for example "timeout": 30'),
        (task(input={"x": "${tasks.reserve.output}"}), 'add "reserve" to depends_on'),
        (task(input={"timeout": "${"}), "write } behind it"),
        (task(when="tasks.reserve.output.ok"), 'add "reserve" to depends_on'),
        (task(when="params."), 'for example "when": "params.amount > 0"'),
        (task(depends_on=["ship"]), "leave it out"),
        (task(depends_on=["elsewhere"]), "name a task of this flow, or leave it out"),
        (task(depends_on=[{"reserve": 1}]), 'for example "depends_on": ["reserve"]'),
        (task("reserve"), "give each task an id of its own"),
        (task(zebra=1), "known are: compensate, config, depends_on"),
        (task(**{"depends_on" * 10: 1}), "known are: compensate, config, depends_on"),
        (task(name="a\nb"), "remove the character"),
        (task(config={"n": 2**63}), "write it as a string"),
        ([], 'for example "tasks": [{"id": "pay"'),
    ],
)
def test_what_nobody_can_guess_is_met_with_what_to_do_or_an_example(second: Any, hint: str) -> None:
    problem = problems_of({"tasks": [task("reserve"), second]})[0]

    assert problem.hint.startswith(hint)


def test_a_misspelt_name_is_found_among_ten_thousand() -> None:
    tasks = [task(f"task_{index}") for index in range(9_999)]

    problems = problems_of({"tasks": [*tasks, task(depends_on=["tsk_777"])]})

    assert [each.hint for each in problems] == ["did you mean task_777?"]


def test_ten_thousand_misspelt_names_are_not_all_compared() -> None:
    tasks = [task(f"task_{index}", depends_on=[f"tsk_{index}"]) for index in range(10_000)]

    hints = [each.hint for each in problems_of({"tasks": tasks})]

    assert hints[0] == "did you mean task_0?"
    assert 1 <= len([hint for hint in hints if "did you mean" in hint]) < 10
    assert hints[-1] == "mend those above first, and try again"
