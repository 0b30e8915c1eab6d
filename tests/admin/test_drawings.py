"""Graph and timeline: nothing overlaps, time has no gaps, and what is too large is not drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.console.graph import MOST_NODES, Graph, Mark, draw
from dist_task.console.layout import WIDEST, Layout, Size, lay_out
from dist_task.console.timeline import MOST_ROWS, Line, Step, spells_of, timeline
from flows.definition import FlowDefinition
from flows.registry_rows import parse_stored

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = Size()


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


@st.composite
def graphs(draw: Any) -> dict[str, tuple[str, ...]]:
    """Each node depends on some of those before it."""
    count = draw(st.integers(1, 25))
    return {
        str(node): tuple(map(str, draw(st.sets(st.integers(0, node - 1), max_size=4) if node else st.just(()))))
        for node in range(count)
    }


def laid_out(depends_on: dict[str, tuple[str, ...]]) -> Layout:
    return lay_out(depends_on, order=list(depends_on), size=SIZE)


@given(graphs())
def test_nodes_never_overlap_and_lie_within_the_drawing(depends_on: dict[str, tuple[str, ...]]) -> None:
    layout = laid_out(depends_on)

    places = sorted(layout.places.values())
    for number, (x, y) in enumerate(places):
        assert 0 <= x <= layout.width - SIZE.width
        assert 0 <= y <= layout.height - SIZE.height
        for other_x, other_y in places[number + 1 :]:
            assert abs(x - other_x) >= SIZE.width or abs(y - other_y) >= SIZE.height


@given(graphs())
def test_every_task_comes_after_what_it_depends_on(depends_on: dict[str, tuple[str, ...]]) -> None:
    layout = laid_out(depends_on)

    axis = 1 if layout.is_upright else 0
    for node, needed in depends_on.items():
        for other in needed:
            assert layout.places[other][axis] < layout.places[node][axis]
    assert len(layout.edges) == sum(map(len, depends_on.values()))


def test_a_long_chain_goes_down_the_page() -> None:
    layout = laid_out({str(n): (str(n - 1),) if n else () for n in range(60)})

    assert layout.is_upright
    assert layout.width < WIDEST


def definition_of(*tasks: dict[str, Any]) -> FlowDefinition:
    return parse_stored({"tasks": [{"type": "noop", **task} for task in tasks]}, pinned={})  # type: ignore[arg-type]


def drawn(definition: FlowDefinition, *, undoing: tuple[str, ...] = ()) -> Graph | None:
    return draw(
        definition,
        marks={task_id: Mark("success", "success") for task_id in definition.tasks},
        link=lambda task_id, op: f"?task={task_id}&op={op}",
        undoing={task_id: Mark("success", "success") for task_id in undoing},
    )


def test_what_is_undone_leads_back_past_what_is_not() -> None:
    tasks = [{"id": "a", "compensate": {}}, {"id": "b", "depends_on": ["a"]}]
    graph = drawn(definition_of(*tasks, {"id": "c", "depends_on": ["b"], "compensate": {}}), undoing=("a", "c"))

    assert graph is not None
    assert len(graph.undo_paths) == 1
    assert [node.task_id for node in graph.nodes if node.undo] == ["a", "c"]


@pytest.mark.parametrize(("count", "is_drawn"), [(0, False), (3, True), (MOST_NODES, True), (MOST_NODES + 1, False)])
def test_a_carpet_is_not_drawn(count: int, is_drawn: bool) -> None:
    definition = definition_of(*({"id": f"t{n}"} for n in range(count)))

    assert (drawn(definition) is not None) is is_drawn


def test_a_mesh_is_not_drawn() -> None:
    ids = [f"t{n}" for n in range(30)]
    definition = definition_of(*({"id": task_id, "depends_on": ids[:n]} for n, task_id in enumerate(ids)))

    assert drawn(definition) is None


def line(**about: Any) -> Line:
    rest: dict[str, Any] = {"attempt": 1, "started_at": None, "finished_at": None, "due_at": None}
    given = {"key": ("pay", "action", -1), "name": "Pay", "url": "", "status": "success", "word": "success"}
    return Line(**{**given, **rest, "ready_at": BEGAN, **about})


def step(event: str, start: float, end: float, *, attempt: int = 1) -> Step:
    return Step("pay", "action", -1, attempt, event, event, "", at(start), at(end))


@pytest.mark.parametrize(
    ("about", "steps", "kinds"),
    [
        ({"started_at": at(1)}, [step("succeeded", 1, 2)], ["queue", "attempt"]),
        ({"started_at": at(0)}, [step("succeeded", 0, 2)], ["attempt"]),
        (
            {"started_at": at(5), "attempt": 2},
            [step("failed", 0, 1), step("succeeded", 5, 6, attempt=2)],
            ["attempt", "pause", "attempt"],
        ),
        ({"status": "pending", "due_at": at(30)}, [step("failed", 0, 1)], ["attempt", "pause"]),
        (
            {"status": "running", "started_at": at(3), "attempt": 2},
            [step("failed", 0, 1)],
            ["attempt", "pause", "attempt"],
        ),
        ({"status": "waiting", "started_at": at(0)}, [step("waiting", 0, 1)], ["attempt", "wait"]),
        (
            {"started_at": at(0)},
            [step("waiting", 0, 1), step("succeeded", 0, 9)],
            ["attempt", "wait"],
        ),
        ({"status": "running", "started_at": at(4)}, [], ["queue", "attempt"]),
        ({"status": "skipped"}, [], []),
    ],
)  # fmt: skip
def test_the_time_of_a_run_has_no_gaps(about: dict[str, Any], steps: list[Step], kinds: list[str]) -> None:
    spells = spells_of(line(**about), steps=steps, now=at(10))

    assert [spell.kind for spell in spells] == kinds
    for before, after in pairwise(spells):
        assert before.end == after.start


def test_bars_stay_within_the_timeline_and_many_rows_are_left_out() -> None:
    lines = [line(key=(f"t{n}", "action", -1), started_at=at(n)) for n in range(MOST_ROWS + 5)]
    steps = [Step(f"t{n}", "action", -1, 1, "succeeded", "done", "", at(n), at(n + 1)) for n in range(MOST_ROWS + 5)]

    found = timeline(lines, steps=steps, began_at=BEGAN, ended_at=at(10), now=at(10))

    assert (len(found.rows), found.left_out) == (MOST_ROWS, 5)
    for bar in (bar for row in found.rows for bar in row.bars):
        assert 0 <= bar.x <= bar.x + bar.width <= 100.01
    assert found.rows[0].label == "Pay"
    assert found.rows[0].spoken == "success; attempts: 1; 1 s"
