"""The items of one task, as planning sees them."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dist_task.engine.fan import MOST_OFFERED, Fan
from dist_task.engine.moves import FOREVER, Elapse, Finish, RunState, Start, Wait
from dist_task.engine.plan import Progress

from .test_plan import definition


def item(number: int, status: str, *, attempt: int = 1, due_at: float = 0.0, waits_for: str = "") -> RunState:
    return RunState("each", status, attempt, due_at=due_at, waits_for=waits_for, item=number)


def fan(count: int, *runs: RunState, most: int | None = None, tries: int = 1) -> Fan:
    return Fan.of("each", items=range(count), tries=tries, most=most, runs=runs)


def numbers(moves: list[Start | Elapse]) -> list[int]:
    return [move.item for move in moves]


def test_as_many_items_begin_as_may_be_under_way() -> None:
    under_way = item(0, "running"), item(1, "waiting", due_at=FOREVER, waits_for="callback"), item(2, "success")

    assert numbers(fan(9, *under_way, most=4).moves(now=0.0)) == [3, 4]
    assert numbers(fan(9, *under_way, most=2).moves(now=0.0)) == []


def test_a_pause_between_attempts_takes_no_place() -> None:
    paused = fan(3, item(0, "pending", due_at=9.0), most=1)

    assert numbers(paused.moves(now=0.0)) == [1]
    assert paused.next_due_at == 9.0
    assert paused.moves(now=9.0) == [Start("each", attempt=2, budget=2, item=0)]
    assert paused.moves(now=9.0) == [Start("each", attempt=2, budget=2, item=0)], "asking changes nothing"


def test_an_item_that_waits_goes_on_in_the_same_attempt_or_is_over() -> None:
    asked_again = fan(1, item(0, "waiting", due_at=3.0, waits_for="service"))
    slept = fan(1, item(0, "waiting", due_at=3.0, waits_for="time"))

    assert asked_again.moves(now=3.0) == [Start("each", attempt=1, budget=1, item=0)]
    assert slept.moves(now=2.0) == []
    assert slept.moves(now=3.0) == [Elapse("each", 0)]


def test_no_more_starts_are_offered_at_once_than_are_needed() -> None:
    assert len(fan(10_000).moves(now=0.0)) == MOST_OFFERED


def test_items_begin_only_while_their_task_waits_for_them() -> None:
    flow = definition({"each": [], "then": ["each"]}, each={"foreach": "params.items"})
    progress = Progress.of(flow, runs=[])
    progress.see(RunState("each", "running", 1))
    progress.fan_out(fan(2))
    assert progress.moves(now=0.0) == []

    progress.see(RunState("each", "waiting", 1, due_at=FOREVER, waits_for="items"))
    assert progress.moves(now=0.0) == [Start("each", 1, 1, item=0), Start("each", 1, 1, item=1)]

    progress.see(item(0, "success"))
    progress.see(item(1, "pending", due_at=7.0))
    assert progress.moves(now=0.0) == [Wait(7.0)]

    progress.see(item(1, "failed", attempt=2))
    assert progress.moves(now=0.0) == [Elapse("each")]

    progress.see(RunState("each", "failed", 1))
    assert progress.moves(now=0.0) == [Finish("failed")]


def test_a_cancelled_task_ends_what_goes_on_elsewhere_and_awaits_what_is_in_flight() -> None:
    flow = definition({"each": []}, each={"foreach": "params.items"})
    progress = Progress.of(flow, runs=[], cancelling=True)
    progress.see(RunState("each", "waiting", 1, due_at=FOREVER, waits_for="items"))
    progress.fan_out(fan(3, item(0, "running"), item(1, "waiting", due_at=FOREVER, waits_for="callback")))

    assert progress.moves(now=0.0) == [Elapse("each", 1)]
    progress.see(item(1, "failed"))
    assert progress.moves(now=0.0) == []
    progress.see(item(0, "success"))
    assert progress.moves(now=0.0) == [Finish("cancelled")]


@settings(deadline=None)
@given(
    count=st.integers(0, 30),
    most=st.none() | st.integers(1, 7),
    tries=st.integers(1, 3),
    chance=st.randoms(use_true_random=False),
)
def test_every_item_is_tried_never_twice_at_once_and_never_too_many(
    count: int, most: int | None, tries: int, chance: random.Random
) -> None:
    items = fan(count, most=most, tries=tries)
    under_way: dict[int, int] = {}
    attempts: dict[int, int] = dict.fromkeys(range(count), 0)
    now = 0.0
    while not items.is_over:
        for move in items.moves(now=now):
            assert isinstance(move, Start)
            assert move.item not in under_way
            assert move.attempt == attempts[move.item] + 1
            attempts[move.item] = under_way[move.item] = move.attempt
            items.see(item(move.item, "running", attempt=move.attempt))
        assert len(under_way) <= (count if most is None else most)
        if not under_way:
            assert now < items.next_due_at < FOREVER, "nothing is under way, so something has to be due"
            now = items.next_due_at
            continue
        ended = chance.choice(sorted(under_way))
        attempt = under_way.pop(ended)
        status = chance.choice(["success", "failed"] if attempt >= tries else ["success", "pending"])
        items.see(item(ended, status, attempt=attempt, due_at=now + chance.random()))

    assert all(1 <= attempts[number] <= tries for number in range(count))
    assert items.failed == sum(run.status == "failed" for run in items.runs.values())


def test_thousands_whose_pause_is_over_are_not_counted_each_time() -> None:
    """By what is looked at, not by the clock: the first that may begin are found without reading on."""
    paused = fan(10_000, *(item(number, "pending", due_at=1.0) for number in range(10_000)), most=2)
    paused.moves(now=1.0)
    looked_at = []

    class Watched(dict[int, RunState]):
        def __getitem__(self, key: int) -> RunState:
            looked_at.append(key)
            return super().__getitem__(key)

    paused.runs = Watched(paused.runs)

    assert numbers(paused.moves(now=1.0)) == [0, 1]
    assert len(looked_at) <= 2


def test_a_service_that_is_asked_again_keeps_its_own_place_only() -> None:
    asked_again = (item(number, "waiting", due_at=1.0, waits_for="service") for number in range(2))
    found = fan(9, *asked_again, item(2, "pending", due_at=1.0), most=4).moves(now=1.0)

    assert numbers(found) == [0, 1, 2, 3]
