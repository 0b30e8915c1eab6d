"""The difference of two versions: both can be read from it, and nothing that means nothing is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.difference import CONTEXT, MOST_COMPARED, TooLarge, canonical, difference

definitions = st.lists(st.sampled_from(["pay", "ship", "mail", "stock"]), max_size=40).map(
    lambda names: json.dumps({"tasks": names})
)


@given(definitions, definitions)
def test_what_was_removed_and_added_is_what_differs(before: str, after: str) -> None:
    lines = difference(before, after)

    old, new = canonical(before), canonical(after)
    for line in lines:
        if line.before is not None:
            assert old[line.before - 1] == line.text
        if line.after is not None:
            assert new[line.after - 1] == line.text
    assert len(old) - _count(lines, "removed") == len(new) - _count(lines, "added")
    assert (lines == []) is (old == new)


def _count(lines: list[Any], kind: str) -> int:
    return sum(line.kind == kind for line in lines)


def test_the_order_of_keys_and_blanks_mean_nothing() -> None:
    assert difference('{"a": 1, "b": 2}', '{"b":2,\n"a":1}') == []


def test_a_change_is_shown_with_a_few_lines_around_it() -> None:
    before = json.dumps({"tasks": [f"t{n}" for n in range(100)]})

    lines = difference(before, before.replace("t50", "other"))

    kinds = [line.kind for line in lines]
    assert kinds == ["gap", *["same"] * CONTEXT, "removed", "added", *["same"] * CONTEXT, "gap"]


def test_what_would_take_minutes_is_refused() -> None:
    one, other = (json.dumps([f"{name}{n}" for n in range(MOST_COMPARED + 1)]) for name in "ab")

    with pytest.raises(TooLarge):
        difference(one, other)


def test_what_is_no_json_is_compared_as_it_is() -> None:
    assert [line.kind for line in difference("{", "}")] == ["removed", "added"]
