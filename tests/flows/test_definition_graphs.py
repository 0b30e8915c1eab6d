"""Random graphs: the order holds, and cycles are found."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.definition import FlowDefinition, InvalidDefinition
from flows.graph import dependents_of, find_cycle, topological_order

KINDS = {"noop": lambda config: []}


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool) -> dict[str, list[str]]:
    size = draw(st.integers(1, 25))
    names = draw(st.permutations([f"t{index}" for index in range(size)]))
    graph: dict[str, list[str]] = {}
    for index, name in enumerate(names):
        others = names[:index] if acyclic else names
        wanted = st.lists(st.sampled_from(others), unique=True, max_size=5) if others else st.just([])
        graph[name] = draw(wanted)
    order = draw(st.permutations(names))
    return {name: graph[name] for name in order}


def parse(graph: dict[str, list[str]]) -> FlowDefinition:
    tasks = [{"id": name, "type": "noop", "depends_on": needed} for name, needed in graph.items()]
    return FlowDefinition.parse({"tasks": tasks}, registry={}, kinds=KINDS)


@given(graphs(acyclic=True))
def test_every_task_comes_after_its_dependencies(graph: dict[str, list[str]]) -> None:
    flow = parse(graph)

    position = {name: index for index, name in enumerate(flow.order)}
    assert set(position) == set(graph)
    assert all(position[other] < position[name] for name, needed in graph.items() for other in needed)
    assert set(flow.roots) == {name for name, needed in graph.items() if not needed}


@given(graphs(acyclic=True))
def test_dependents_are_the_same_edges(graph: dict[str, list[str]]) -> None:
    there = {(name, other) for name, needed in graph.items() for other in needed}
    back = {(name, other) for other, names in parse(graph).dependents.items() for name in names}

    assert there == back


@given(graphs(acyclic=False))
def test_a_cycle_is_found_exactly_where_the_order_is_incomplete(graph: dict[str, list[str]]) -> None:
    order = topological_order(graph, dependents=dependents_of(graph))
    cycle = find_cycle(graph, order=order)

    assert bool(cycle) == (len(order) < len(graph))
    if cycle:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        steps = zip(cycle, cycle[1:], strict=False)
        assert all(other in graph[name] for name, other in steps)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
task_keys = st.sampled_from(
    ["id", "name", "type", "task_name", "depends_on", "config", "timeout", "retry", "optional", "when", "x"]
)
retry_blocks = st.dictionaries(
    st.sampled_from(["strategy", "max_attempts", "interval", "backoff", "terminal_on", "x"]), json_values
)
wild_tasks = st.dictionaries(task_keys, json_values | st.fixed_dictionaries({"retry": retry_blocks}), max_size=8)


@given(st.lists(wild_tasks | json_values, max_size=5), json_values)
def test_no_value_makes_anything_but_a_list_of_problems(tasks: list[Any], other: Any) -> None:
    for definition in ({"tasks": tasks, "name": other}, {"tasks": other}, other):
        try:
            FlowDefinition.parse(definition, registry={}, kinds=KINDS)
        except InvalidDefinition as error:
            assert error.problems
            assert all(p.path.isprintable() and p.message for p in error.problems)


@given(st.text() | st.binary())
def test_no_text_makes_anything_but_a_list_of_problems(text: str | bytes) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        FlowDefinition.parse(text, registry={}, kinds=KINDS)

    assert caught.value.problems
