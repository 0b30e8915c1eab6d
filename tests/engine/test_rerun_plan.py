"""What running a transaction again would do, over graphs; and what it would be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dist_task.engine import rerun
from dist_task.engine.rerun import Forward
from flows.definition import FlowDefinition


@st.composite
def graphs(draw: st.DrawFn) -> tuple[FlowDefinition, list[Forward], list[str]]:
    """A definition, an outcome that its forward work can have had, and tasks to run again."""
    count = draw(st.integers(1, 8))
    tasks, forward, satisfied = [], [], set()
    for n in range(count):
        needs = draw(st.lists(st.sampled_from(range(n)), unique=True)) if n else []
        optional = draw(st.booleans())
        tasks.append(
            {"id": f"t{n}", "type": "noop", "depends_on": [f"t{need}" for need in needs], "optional": optional}
        )
        if satisfied.issuperset(needs):
            status = draw(st.sampled_from(["success", "failed", "skipped", "cancelled"]))
            maybe = status == "failed" and draw(st.booleans())
            attempt = 1 if status in ("success", "failed") else 0
            forward.append(Forward(f"t{n}", -1, status, attempt, maybe))
            if status in ("success", "skipped") or (status == "failed" and optional):
                satisfied.add(n)
    start = draw(st.lists(st.sampled_from([task["id"] for task in tasks]), unique=True))
    return FlowDefinition.parse({"tasks": tasks}, registry={}, kinds={"noop": lambda config: []}), forward, start


@given(graphs())
def test_every_task_runs_is_carried_over_or_has_to_be_named(
    drawn: tuple[FlowDefinition, list[Forward], list[str]],
) -> None:
    definition, forward, start = drawn

    plan = rerun.plan(definition, forward=forward, start=start)

    assert sorted((*plan.runs, *plan.carried, *plan.untold)) == sorted(definition.tasks)
    assert set(start) <= set(plan.runs)
    assert set(plan.done) <= set(plan.runs)
    for task_id in plan.carried:
        assert not set(definition.tasks[task_id].depends_on) & set(plan.runs), "nothing carried over stands on a rerun"
    done = {run.task_id for run in forward if run.has_done_something}
    assert set(plan.done) == done & set(plan.runs), "nothing is silently done twice"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("order_001", "order_001:r2"),
        ("order_001:r2", "order_001:r3"),
        ("order_001:r9", "order_001:r10"),
        ("订单:r1", "订单:r2"),
        (":r2", ":r2:r2"),
        ("x:r0", "x:r0:r2"),
    ],
)
def test_the_new_name_counts(given: str, expected: str) -> None:
    assert rerun.next_id(given) == expected


@given(st.text(min_size=1, max_size=64))
def test_the_new_name_is_never_too_long_and_never_the_old_one(instance_id: str) -> None:
    new = rerun.next_id(instance_id)

    assert len(new) <= 64
    assert new != instance_id
