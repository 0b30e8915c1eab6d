"""A simulation says what a worker would do: by the rules on random graphs, and beside a real worker."""

from __future__ import annotations

import cProfile
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.engine.simulate import SCENARIO_KEYS, Ran, Simulation, Undone, read_scenario, simulate
from dist_task.models import TaskRun
from dist_task.problems import InvalidValue
from exceptions_app.models import ExceptionRecord
from flows.definition import FlowDefinition
from flows.registry_rows import load

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .test_compensation import REFUSED, ancestors, paths, undoable
from .test_plan import graphs
from .test_transactions_run import http
from .worker import WorkerThread

SATISFIED = {"success", "skipped"}


def parsed(graph: dict[str, list[str]], *, on_failure: str = "wait", **more: dict[str, Any]) -> FlowDefinition:
    tasks = [
        {"id": task_id, "type": "noop", "depends_on": needs, **more.get(task_id, {})}
        for task_id, needs in graph.items()
    ]
    data = {"tasks": tasks, "on_failure": on_failure}
    return FlowDefinition.parse(data, registry={}, kinds={"noop": lambda config: []})


def told(definition: FlowDefinition, **scenario: list[str]) -> Simulation:
    return simulate(definition, scenario=read_scenario(definition, **scenario))


def ways(tasks: Iterable[Ran | Undone]) -> dict[str, tuple[int, str | None]]:
    return {each.task_id: (each.step, each.status) for each in tasks}


CHAIN: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b"]}
UNDO: dict[str, Any] = {"compensate": {}}


def test_a_flow_without_tasks_succeeds_and_leaves_nothing_to_undo() -> None:
    found = told(parsed({}))

    assert (found.status, found.compensation, found.tasks, found.undo.tasks) == ("success", "none", (), ())


def test_where_a_person_decides_it_says_what_he_finds_and_what_compensation_would_do() -> None:
    found = told(parsed(CHAIN, a=UNDO, b=UNDO), unknown=["b"])

    assert (found.status, found.compensation) == ("failed", "none")
    assert [(each.task_id, each.op, each.maybe_executed) for each in found.exceptions] == [("b", "action", True)]
    assert [each.task_id for each in found.never_started] == ["c"]
    assert (found.undo.by_itself, found.undo.compensation) == (False, "done")
    assert ways(found.undo.tasks) == {"b": (1, "success"), "a": (2, "success")}


def test_a_failed_compensation_stops_those_before_it_and_is_left_for_a_person() -> None:
    found = told(parsed(CHAIN, on_failure="compensate", a=UNDO, b=UNDO), fail=["c"], fail_undo=["b"])

    assert (found.status, found.compensation, found.undo.by_itself) == ("failed", "failed", True)
    assert ways(found.undo.tasks) == {"b": (1, "failed"), "a": (2, None)}
    assert [(each.task_id, each.op) for each in found.exceptions] == [("c", "action"), ("b", "compensate")]


def test_what_does_not_say_how_it_is_undone_is_passed_over() -> None:
    found = told(parsed(CHAIN, on_failure="compensate", a=UNDO), fail=["c"])

    assert [(each.task_id, each.is_undone, each.status) for each in found.undo.tasks] == [
        ("b", False, None),
        ("a", True, "success"),
    ]


def test_a_flow_goes_on_after_a_failed_optional_task_and_a_skipped_one() -> None:
    found = told(parsed(CHAIN, a={"optional": True}), fail=["a"], skip=["b"])

    assert (found.status, ways(found.tasks)) == (
        "success",
        {"a": (1, "failed"), "b": (2, "skipped"), "c": (3, "success")},
    )
    assert [each.task_id for each in found.exceptions] == ["a"]


def test_every_wrong_word_of_a_scenario_is_named() -> None:
    with pytest.raises(InvalidValue) as refused:
        read_scenario(parsed({"deduct": [], "b": []}), fail=["b", "dedukt"], skip=["b"], fail_undo=["b"])

    assert [(each.path, each.hint) for each in refused.value.problems] == [
        ("fail[1]", "did you mean deduct?"),
        ("skip[0]", ""),
        ("fail_undo[0]", ""),
    ]


@pytest.mark.parametrize("needs", [lambda index: [f"t{index - 1}"] if index else [], lambda index: []])
@pytest.mark.parametrize("fail", [[], ["t9999"]])
def test_ten_thousand_tasks_are_a_bounded_number_of_steps(needs: Any, fail: list[str]) -> None:
    graph = {f"t{index}": needs(index) for index in range(10_000)}
    definition = parsed(graph, on_failure="compensate", **dict.fromkeys(graph, UNDO))
    profile = cProfile.Profile()

    found = profile.runcall(told, definition, fail=fail)

    assert len(found.tasks) == 10_000
    assert len(found.undo.tasks) == 10_000 - len(fail)
    assert sum(each.callcount for each in profile.getstats()) < 100 * 10_000


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """A graph, and which of its tasks are what."""
    graph = draw(graphs())
    some = st.sets(st.sampled_from(sorted(graph)), max_size=4) if graph else st.just(set())
    sets = {name: set(draw(some)) for name in ("fail", "unknown", "skip", "optional", "without_undo", "fail_undo")}
    sets["unknown"] -= sets["fail"]
    sets["skip"] -= sets["fail"] | sets["unknown"]
    sets["fail_undo"] -= sets["without_undo"]
    return graph, sets


@given(story=stories(), on_failure=st.sampled_from(["wait", "compensate"]))
def test_random_graphs_go_as_the_rules_say(
    story: tuple[dict[str, list[str]], dict[str, set[str]]], on_failure: str
) -> None:
    graph, sets = story
    options = {
        each: {"optional": each in sets["optional"], **({} if each in sets["without_undo"] else UNDO)} for each in graph
    }
    definition = parsed(graph, on_failure=on_failure, **options)

    found = told(definition, **{key: sorted(sets[key]) for key in SCENARIO_KEYS})

    forward = forward_by_the_rules(graph, sets=sets)
    undone = undone_by_the_rules(graph, sets=sets, forward=forward)
    is_good = {each for each, (_step, status) in forward.items() if status in SATISFIED or each in sets["optional"]}
    undo_ends = "done" if all(status == "success" for _step, status in undone.values()) else "failed"
    assert ways(found.tasks) == forward
    assert [each.step for each in found.tasks] == sorted(each.step for each in found.tasks)
    assert {each.task_id for each in found.never_started} == set(graph) - set(forward)
    assert ways(each for each in found.undo.tasks if each.is_undone) == undone
    assert found.status == ("success" if is_good == set(graph) else "failed")
    by_itself = on_failure == "compensate" and found.status == "failed"
    assert (found.undo.by_itself, found.undo.compensation) == (by_itself, undo_ends)
    assert found.compensation == (undo_ends if by_itself else "none")


def forward_by_the_rules(graph: dict[str, list[str]], *, sets: dict[str, set[str]]) -> dict[str, tuple[int, str]]:
    """A task starts when all that it depends on is success, skipped, or failed and optional."""
    ways: dict[str, tuple[int, str]] = {}
    for task_id, needs in graph.items():  # dependencies come first
        if all(each in ways and (ways[each][1] in SATISFIED or each in sets["optional"]) for each in needs):
            failed = task_id in sets["fail"] | sets["unknown"]
            status = "skipped" if task_id in sets["skip"] else "failed" if failed else "success"
            ways[task_id] = (1 + max((ways[each][0] for each in needs), default=0), status)
    return ways


def undone_by_the_rules(
    graph: dict[str, list[str]], *, sets: dict[str, set[str]], forward: dict[str, tuple[int, str]]
) -> dict[str, tuple[int, str | None]]:
    """Undone is what succeeded or may have been executed, after all that came after it was undone."""
    done = {each for each, (_step, status) in forward.items() if status == "success" or each in sets["unknown"]}
    undone: dict[str, tuple[int, str | None]] = {}
    for task_id in reversed(graph):
        if task_id in done - sets["without_undo"]:
            later = [undone[each] for each in undone if task_id in ancestors(graph, each)]
            begins = all(status == "success" for _step, status in later)
            status = "failed" if task_id in sets["fail_undo"] else "success"
            undone[task_id] = (1 + max((step for step, _status in later), default=0), status if begins else None)
    return undone


# Beside a real worker.


@pytest.mark.parametrize("on_failure", ["wait", "compensate"])
@pytest.mark.parametrize(
    "scenario",
    [
        {},
        {"fail": ["d"]},
        {"fail": ["b"]},
        {"unknown": ["d"]},
        {"unknown": ["b"], "fail": ["c"]},
        {"fail": ["d", "e"], "fail_undo": ["c"]},
    ],
    ids=str,
)
def test_a_worker_does_what_the_simulation_says(
    worker: WorkerThread, service: Service, scenario: dict[str, list[str]], on_failure: str
) -> None:
    answer_as(scenario, service=service)
    flow = make_flow(
        undoable("a", service),
        undoable("b", service, "a"),
        undoable("c", service, "a"),
        undoable("d", service, "b", "c", "e"),
        http("e", service, "a", optional=True),
        on_failure=on_failure,
    )
    said = told(load(flow), **scenario)

    txn = finished(begin(flow))

    assert (txn.status, txn.compensation) == (said.status, said.compensation)
    runs = TaskRun.objects.filter(transaction=txn).values_list("op", "task_id", "status")
    assert {run[1:] for run in runs if run[0] == "action"} == {(each.task_id, each.status) for each in said.tasks}
    undone = {(each.task_id, each.status) for each in said.undo.tasks if said.undo.by_itself and each.status}
    assert {run[1:] for run in runs if run[0] == "compensate"} == undone
    raised = ExceptionRecord.objects.unhandled().filter(transaction=txn).values_list("task_id", "op")
    assert sorted(raised) == sorted((each.task_id, each.op) for each in said.exceptions)
    assert in_steps(paths(service), expected=said)


def answer_as(scenario: dict[str, list[str]], *, service: Service) -> None:
    for key, answer in (("fail", REFUSED), ("unknown", Answer(drop=True))):
        for task_id in scenario.get(key, ()):
            service.answer(f"/{task_id}", answer)
    for task_id in scenario.get("fail_undo", ()):
        service.answer(f"/undo-{task_id}", REFUSED)


def in_steps(called: list[str], *, expected: Simulation) -> bool:
    """Whether the calls came step by step, in any order within one."""
    steps = [(each.step, f"/{each.task_id}") for each in expected.tasks]
    if expected.undo.by_itself:
        steps += [(1000 + each.step, f"/undo-{each.task_id}") for each in expected.undo.tasks if each.status]
    step_of = {path: step for step, path in steps}
    return sorted(called) == sorted(step_of) and [step_of[path] for path in called] == sorted(step_of.values())
