"""script/example without an example."""

from __future__ import annotations

from .conftest import example


def test_the_examples_are_listed() -> None:
    done = example()

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["order_saga", "money_transfer"]


def test_an_unknown_example_is_refused() -> None:
    done = example("perpetual_motion")

    assert done.returncode == 2
    assert "there is no example 'perpetual_motion'" in done.stderr


def test_an_unknown_order_is_refused() -> None:
    done = example("order_saga", "perpetual")

    assert done.returncode == 2
    assert "there is no order perpetual" in done.stderr
