"""What is asked at the same time is done at once: group commit for the web process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, connection

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 128

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gather(Generic[Item, Result]):
    """Hands items to `work` on one thread, whose connection lasts. While it works, the next items gather.

    `work` answers one result per item, None where it has none. It may be called twice for the same items (the
    connection broke, and nobody knows whether the statement was executed), so it must be safe to repeat. Where it
    fails, all results are None. At idle a batch is one item and waits for nothing.
    """

    def __init__(self, work: Callable[[list[Item]], Sequence[Result | None]], *, name: str) -> None:
        self._work = work
        self._waiting: list[tuple[Item, asyncio.Future[Result | None]]] = []
        self._running: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def result_of(self, item: Item) -> Result | None:
        result: asyncio.Future[Result | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            items = [item for item, _ in batch]
            results = await loop.run_in_executor(self.thread, self._results_of, items)
            for (_, waiting), result in zip(batch, results, strict=True):
                if not waiting.done():
                    waiting.set_result(result)

    def _results_of(self, items: list[Item]) -> Sequence[Result | None]:
        try:
            return self._healed(items)
        except Exception as error:  # noqa: BLE001  # each item is asked for again by itself, and that names the trouble
            logger.warning("%d requests go on one by one: %s: %s", len(items), type(error).__name__, error)
            return [None] * len(items)

    def _healed(self, items: list[Item]) -> Sequence[Result | None]:
        """Once more on a new connection, where the old one turns out to be broken."""
        try:
            return self._work(items)
        except (DatabaseError, InterfaceError):  # also a bare DatabaseError: the end of a server that crashed
            connection.close_if_unusable_or_obsolete()
            if connection.connection is not None:
                raise
            return self._work(items)
