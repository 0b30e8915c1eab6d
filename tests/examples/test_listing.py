"""script/example without an example."""

from __future__ import annotations

import pytest

from .conftest import example


def test_the_examples_are_listed() -> None:
    done = example()

    assert done.returncode == 0, done.stderr
    names = ["order_saga", "money_transfer", "approval", "fan_out", "subflow"]
    assert [line.split()[0] for line in done.stdout.splitlines()] == names


def test_an_unknown_example_is_refused() -> None:
    done = example("perpetual_motion")

    assert done.returncode == 2
    assert "there is no example 'perpetual_motion'" in done.stderr


@pytest.mark.parametrize(("name", "what"), [("order_saga", "order"), ("approval", "expense"), ("subflow", "order")])
def test_an_unknown_part_of_an_example_is_refused(name: str, what: str) -> None:
    done = example(name, "perpetual")

    assert done.returncode == 2
    assert f"there is no {what} perpetual" in done.stderr
