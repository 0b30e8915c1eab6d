"""Calls on both kinds of loop, an executor to make them with, and databases that tasks change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
import uvloop

from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.db import DbExecutor
from dist_task.executors.http import HttpExecutor
from dist_task.executors.outbound import OUTBOUND
from tests.mariadb import MISSING, mariadb

from .relay import Relay
from .shops import Shop, mariadb_shop, postgres_shop

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


# -- databases --


@pytest.fixture(scope="session")
def shops() -> Iterator[Callable[[str], Shop]]:
    """Each server is started when a test asks for it."""
    with ExitStack() as stack:

        @cache
        def open_shop(dialect: str) -> Shop:
            if dialect == "postgresql":
                return stack.enter_context(postgres_shop())
            if MISSING:
                pytest.skip(MISSING)
            return stack.enter_context(mariadb_shop(stack.enter_context(mariadb())))

        yield open_shop


@pytest.fixture
def postgres(shops: Callable[[str], Shop], settings: Any) -> Shop:
    return registered(shops("postgresql"), settings=settings)


@pytest.fixture
def maria(shops: Callable[[str], Shop], settings: Any) -> Shop:
    return registered(shops("mysql"), settings=settings)


@pytest.fixture(params=["postgresql", "mysql"])
def shop(request: pytest.FixtureRequest, shops: Callable[[str], Shop], settings: Any) -> Shop:
    """The same on both databases."""
    return registered(shops(request.param), settings=settings)


def registered(shop: Shop, *, settings: Any, name: str = "shop", **more: Any) -> Shop:
    """As new, and a connection of this name leads to it."""
    shop.renew()
    register(settings, name, shop.config(**more))
    return shop


def register(settings: Any, name: str, config: dict[str, Any]) -> None:
    given = {**settings.DIST_TASK.get("CONNECTIONS", {}), name: config}
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": given}


@pytest.fixture
def relay(shop: Shop, settings: Any) -> Iterator[Relay]:
    """The connection `shop` goes over it."""
    relay = Relay(shop.wire)
    register(settings, "shop", shop.config(**shop.through(relay.port)))
    yield relay
    relay.close()


@pytest.fixture
def db() -> Iterator[DbTask]:
    task = DbTask()
    yield task
    task.executor.close()


class DbTask:
    """Attempts of db tasks, by one executor."""

    def __init__(self) -> None:
        self.executor = DbExecutor()

    def __call__(
        self,
        *,
        input: dict[str, Any] | None = None,
        run: str = "txn_1",
        op: str = "action",
        item: int = -1,
        seconds: float = 20.0,
        **config: Any,
    ) -> Any:
        """The output of one attempt of the task `pay` of the transaction `run`."""
        return self.result(input=input, run=run, op=op, item=item, seconds=seconds, **config).output

    def result(
        self, *, input: dict[str, Any] | None, run: str, op: str, item: int, seconds: float, **config: Any
    ) -> Result:
        config = {"connection": "shop", "table": "accounts", **config}
        return self.executor.execute(TaskCall(run, "pay", op, item, 1, config, input or {}, seconds))

    def failure(self, **given: Any) -> ExecutionError:
        """The error of an attempt that must fail."""
        with pytest.raises(ExecutionError) as caught:
            self(**given)
        return caught.value
