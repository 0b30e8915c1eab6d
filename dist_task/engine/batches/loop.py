"""The loop inside a worker that works off batches: some items of one, then of the one that has waited longest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dist_task.engine.aside import Aside
from dist_task.engine.store import batches

from .run import run_next

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ITEMS_PER_TURN = 50

Ask = Callable[[Callable[[Any], Any]], Awaitable[Any]]
"""Does something with a cursor, in a database transaction of its own."""


class BatchLoop:
    """`aside`: a thread for the items alone, so that subflows do not wait behind them.

    `is_busy`: whether the worker has ordinary work: then an item is followed by a rest as long as it took.
    """

    def __init__(self, ask: Ask, *, aside: Aside, is_busy: Callable[[], bool]) -> None:
        self._ask = ask
        self._aside = aside
        self._is_busy = is_busy

    async def run(self) -> None:
        """Until it is cancelled. An item that is being done then ends by itself, or is undone with its connection."""
        while True:
            try:
                has_more = await self._look()
            except Exception as error:  # the loop goes on: the next look may find the cause gone
                logger.error("Batches could not be looked after: %r", error)
                has_more = False
            if not has_more:
                await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> bool:
        """False when there is nothing to do just now."""
        batch_id = await self._ask(partial(batches.next_running, within_seconds=LOOK_SECONDS))
        return batch_id is not None and await self._turn(batch_id)

    async def _turn(self, batch_id: int) -> bool:
        """Some of its items; False when it has ended, or somebody else is at it."""
        clock = asyncio.get_running_loop().time
        for _item in range(ITEMS_PER_TURN):
            began = clock()
            pause = await self._aside.request(partial(run_next, batch_id))
            if pause is None:
                return False
            if pause > LOOK_SECONDS:
                break  # others may not have to wait
            await asyncio.sleep(max(pause, clock() - began if self._is_busy() else 0.0))
        return True
