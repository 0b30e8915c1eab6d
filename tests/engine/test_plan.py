"""What a transaction does next, from a definition and the state of its runs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.engine.moves import FOREVER, Elapse, Finish, RunState, Start, Wait
from dist_task.engine.plan import Progress, plan
from dist_task.states import SATISFIED_RUN
from flows.definition import FlowDefinition


def definition(graph: dict[str, list[str]], **options: Any) -> FlowDefinition:
    tasks = [
        {"id": task_id, "type": "noop", "depends_on": depends_on, **options.get(task_id, {})}
        for task_id, depends_on in graph.items()
    ]
    return FlowDefinition.parse({"tasks": tasks}, registry={}, kinds={"noop": lambda config: []})


DIAMOND: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}
AUTO = {"retry": {"strategy": "auto", "max_attempts": 2, "interval": 1}}


def run(task_id: str, status: str, *, attempt: int = 1, budget: int = 1, due_at: float = 0.0) -> RunState:
    return RunState(task_id, status=status, attempt=attempt, budget=budget, due_at=due_at)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], [Start("a", attempt=1, budget=1)]),
        ([run("a", "running")], []),
        ([run("a", "success")], [Start("b", attempt=1, budget=1), Start("c", attempt=1, budget=1)]),
        ([run("a", "skipped")], [Start("b", attempt=1, budget=1), Start("c", attempt=1, budget=1)]),
        ([run("a", "failed")], [Finish("failed")]),
        ([run("a", "success"), run("b", "success"), run("c", "running")], []),
        ([run("a", "success"), run("b", "failed"), run("c", "running")], []),
        ([run("a", "success"), run("b", "failed"), run("c", "success")], [Finish("failed")]),
        ([run("a", "success"), run("b", "success"), run("c", "success")], [Start("d", attempt=1, budget=1)]),
        ([run(each, "success") for each in "abcd"], [Finish("success")]),
        ([run("a", "pending", due_at=10.0)], [Wait(10.0)]),
        ([run("a", "pending", due_at=5.0)], [Start("a", attempt=2, budget=2)]),
        ([run("a", "pending", due_at=5.0, attempt=2, budget=7)], [Start("a", attempt=3, budget=7)]),
        ([run("a", "waiting", due_at=FOREVER)], [Wait(FOREVER)]),
        ([run("a", "waiting", due_at=9.0)], [Wait(9.0)]),
        ([run("a", "waiting", due_at=5.0)], [Elapse("a")]),
        ([run("a", "waiting", due_at=5.0)._replace(waits_for="service")], [Start("a", attempt=1, budget=1)]),
        ([run("a", "success"), run("b", "waiting", due_at=FOREVER), run("c", "running")], []),
        ([run("a", "success"), run("b", "waiting", due_at=9.0), run("c", "pending", due_at=7.0)], [Wait(7.0)]),
    ],
)
def test_the_next_moves_of_a_diamond(runs: list[RunState], expected: list[object]) -> None:
    assert plan(definition(DIAMOND), runs=runs, now=5.0) == expected


def test_a_flow_without_tasks_succeeds() -> None:
    assert plan(definition({}), runs=[]) == [Finish("success")]


def test_the_first_start_has_the_budget_of_its_policy() -> None:
    assert plan(definition({"a": []}, a=AUTO), runs=[]) == [Start("a", attempt=1, budget=3)]


def test_a_failed_optional_task_lets_the_flow_go_on() -> None:
    flow = definition({"a": [], "b": ["a"]}, a={"optional": True})

    assert plan(flow, runs=[run("a", "failed")]) == [Start("b", attempt=1, budget=1)]
    assert plan(flow, runs=[run("a", "failed"), run("b", "success")]) == [Finish("success")]


def test_a_retry_that_waits_does_not_hold_up_another_branch() -> None:
    runs = [run("a", "success"), run("b", "pending", due_at=99.0)]

    assert plan(definition(DIAMOND), runs=runs, now=5.0) == [Start("c", attempt=1, budget=1)]


def test_nothing_starts_while_it_is_being_cancelled() -> None:
    runs = [run("a", "success")]

    assert plan(definition(DIAMOND), runs=runs, cancelling=True) == [Finish("cancelled")]
    assert plan(definition(DIAMOND), runs=[*runs, run("b", "running")], cancelling=True) == []


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    size = draw(st.integers(0, 12))
    names = [f"t{index}" for index in range(size)]
    return {
        name: draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=4)) if index else []
        for index, name in enumerate(names)
    }


@given(graph=graphs(), seed=st.integers(0, 10_000))
def test_random_graphs_run_in_order_in_parallel_and_to_an_end(graph: dict[str, list[str]], seed: int) -> None:
    """Attempts end in any order, some fail; the incremental answer equals the one counted anew at each step."""
    chance = random.Random(seed)
    flow = definition(graph)
    progress = Progress.of(flow, runs=())
    done: dict[str, str] = {}
    running: set[str] = set()
    for _ in range(2 * len(graph) + 1):
        moves = progress.moves(now=0.0)
        assert _as_set(moves) == _as_set(plan(flow, runs=list(progress.runs.values())))
        if moves and isinstance(moves[0], Finish):
            break
        _start_all(moves, progress=progress, graph=graph, done=done, running=running)
        ended = chance.choice(sorted(running))
        running.discard(ended)
        done[ended] = "failed" if chance.random() < 0.2 else "success"
        progress.see(run(ended, done[ended]))

    blocked = {task for task in graph if task not in done}
    assert not running
    assert all(any(done.get(each) != "success" for each in graph[task]) for task in blocked)
    assert moves == [Finish("success" if set(done.values()) <= {"success"} and not blocked else "failed")]


STANDINGS = ("pending", "running", "waiting", "success", "failed", "skipped", "cancelled")


@given(graph=graphs(), seed=st.integers(0, 10_000))
def test_whatever_is_seen_the_moves_are_those_of_where_it_stands(graph: dict[str, list[str]], seed: int) -> None:
    """Runs move as rows do, also back from an end; the answer kept up to date equals the one counted anew."""
    chance = random.Random(seed)
    flow = definition(graph)
    progress = Progress.of(flow, runs=())
    for _ in range(3 * len(graph)):
        moves = [move for move in progress.moves(now=0.0) if isinstance(move, Start | Elapse)]
        if not moves:
            break
        task_id = chance.choice(moves).task_id
        for status in chance.choices(STANDINGS, k=chance.randint(1, 3)):
            progress.see(run(task_id, status, due_at=chance.choice((0.0, 9.0))))
            if status in SATISFIED_RUN:
                break

        fresh = Progress.of(flow, runs=list(progress.runs.values()))
        assert _as_set(progress.moves(now=0.0)) == _as_set(fresh.moves(now=0.0))
        assert progress.next_due_at == fresh.next_due_at
        if progress.is_only_running:
            assert (progress.moves(now=0.0), progress.next_due_at) == ([], None)


def _start_all(
    moves: list[Any],
    *,
    progress: Progress,
    graph: dict[str, list[str]],
    done: dict[str, str],
    running: set[str],
) -> None:
    startable = {
        task for task in graph if task not in done and all(done.get(each) == "success" for each in graph[task])
    }
    for move in moves:
        assert all(done.get(each) == "success" for each in graph[move.task_id])
        assert move.task_id not in running
        running.add(move.task_id)
        progress.see(run(move.task_id, "running"))
    assert running == startable, "every task that can run does run, side by side"


def _as_set(moves: list[Any]) -> set[Any]:
    return set(moves)


def test_a_task_that_is_tried_again_waits_for_an_optional_one_before_it() -> None:
    flow = definition({"a": [], "b": ["a"]}, a={"optional": True})
    progress = Progress.of(flow, runs=[run("a", "pending"), run("b", "pending")])

    assert progress.moves(now=5.0) == [Start("a", attempt=2, budget=2)]
    progress.see(run("a", "running", attempt=2))
    assert progress.moves(now=5.0) == []
    progress.see(run("a", "failed", attempt=2))
    assert progress.moves(now=5.0) == [Start("b", attempt=2, budget=2)]


def test_what_goes_on_elsewhere_is_over_when_it_is_cancelled() -> None:
    waiting = run("b", "waiting", due_at=FOREVER)._replace(waits_for="callback")
    child = run("c", "waiting", due_at=FOREVER)._replace(waits_for="child")
    runs = [run("a", "success"), waiting, child]

    assert plan(definition(DIAMOND), runs=runs, cancelling=True) == [Elapse("b")]
    runs[1] = run("b", "failed")
    assert plan(definition(DIAMOND), runs=runs, cancelling=True) == [], "a transaction of ours tells when it has ended"


def test_of_thousands_that_are_ready_a_few_are_told_and_those_that_cannot_begin_let_others_go_first() -> None:
    progress = Progress.of(definition({f"t{n}": [] for n in range(1_000)}), runs=[])

    first = [move.task_id for move in progress.moves(now=0.0, most=2) if isinstance(move, Start)]
    progress.postpone("t0")
    second = [move.task_id for move in progress.moves(now=0.0, most=2) if isinstance(move, Start)]

    assert (first, second) == (["t0", "t1"], ["t1", "t2"])
    assert len(progress.moves(now=0.0)) == 1_000
