"""Definitions with as many tasks as a flow may have are read in a moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flows.definition import MOST_TASKS, FlowDefinition

WIDE_SECONDS = 30.0
"""Over twenty times what it takes, for a busy machine: what grows with the square of the tasks takes minutes."""
LAYER = 100


def task(number: int, *needed: int) -> dict[str, Any]:
    config = {"url": "http://pay/pay", "method": "POST"}
    return {"id": f"t{number}", "type": "http", "config": config, "depends_on": [f"t{other}" for other in needed]}


def chain() -> Iterator[dict[str, Any]]:
    return (task(number, *range(max(number - 1, 0), number)) for number in range(MOST_TASKS))


def fan() -> Iterator[dict[str, Any]]:
    """All but the last depend on the first, and the last on all of them."""
    yield task(0)
    yield from (task(number, 0) for number in range(1, MOST_TASKS - 1))
    yield task(MOST_TASKS - 1, *range(1, MOST_TASKS - 1))


def mesh() -> Iterator[dict[str, Any]]:
    """Layers of a hundred, each task of which depends on all of the layer before: a million edges."""
    for number in range(MOST_TASKS):
        first = number // LAYER * LAYER
        yield task(number, *range(max(first - LAYER, 0), first))


@pytest.mark.parametrize("shape", [chain, fan, mesh])
def test_ten_thousand_tasks_are_read_in_a_moment(shape: Any) -> None:
    text = json.dumps({"tasks": list(shape())})

    began = time.monotonic()
    flow = FlowDefinition.parse(text, registry={}, kinds={"http": lambda config: []})
    seconds = time.monotonic() - began

    assert len(flow.tasks) == len(flow.order) == MOST_TASKS
    assert seconds < WIDE_SECONDS
