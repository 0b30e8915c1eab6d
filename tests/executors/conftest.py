"""Calls on both kinds of loop, and an executor to make them with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.http import HttpExecutor
from dist_task.executors.outbound import OUTBOUND

Run = Callable[[Coroutine[Any, Any, Any]], Any]

OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine to its end on a loop of its own, and closes what it left open."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    async def closing(coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await asyncio.wait_for(coroutine, 60)
        finally:
            await OUTBOUND.close()

    def run_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(closing(coroutine))

    return run_it


async def call(url: str, *, seconds: float = 20.0, value: dict[str, Any] | None = None, **given: Any) -> Result:
    """One attempt of an http task. `task_id` and the like go to the call, everything else to its config."""
    ids = {name: given.pop(name) for name in ("task_id", "instance_id", "secret_places") if name in given}
    return await HttpExecutor().execute(
        TaskCall(
            **{"instance_id": "order-1", "task_id": "deduct", **ids},
            op="action",
            item=0,
            attempt=1,
            config={"url": url, **given},
            input={"amount": 100} if value is None else value,
            timeout_seconds=seconds,
        )
    )


async def failure(url: str, **given: Any) -> ExecutionError:
    """The error of a call that must fail."""
    with pytest.raises(ExecutionError) as caught:
        await call(url, **given)
    return caught.value


def verdict(error: ExecutionError) -> tuple[str, bool, bool]:
    """Its code, whether the work may have been done, and whether another try is useless."""
    return error.code, error.unknown, error.permanent
