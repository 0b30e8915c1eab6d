"""The loop that judges alert rules and makes deliveries: in every worker, and more slowly in every web process.

A web process is there for the case that no worker lives: the rule that says so is judged, and told, all the same.
Nobody needs to be elected. A rule's row is locked by who looks at it, a delivery is taken for a while by who sends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dist_task.engine.committer import Unstorable
from dist_task.engine.store import deliveries
from dist_task.engine.store.deliveries import Taken

from . import courier, judge

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MOST_RULES = 50
SWITCHED_OFF = "the channel is switched off"

Ask = Callable[[Callable[[Any], Any]], Awaitable[Any]]
"""Does something with a cursor, in a database transaction of its own; perhaps twice, when the connection breaks."""


class Watch:
    """`lag_seconds`: deliveries are left alone until they have been due for so long, for others to make."""

    def __init__(self, ask: Ask, *, look_seconds: float = LOOK_SECONDS, lag_seconds: float = 0.0) -> None:
        self._ask = ask
        self._look_seconds = look_seconds
        self._lag_seconds = lag_seconds
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._freed = asyncio.Event()
        self._judge_at = 0.0

    async def run(self) -> None:
        """Until it is cancelled; what is being sent then is left, and due again after a while."""
        try:
            while True:
                await self._look()
                await self._rest()
        finally:
            for task in self._busy.values():
                task.cancel()

    async def _look(self) -> None:
        try:
            now = asyncio.get_running_loop().time()
            if now >= self._judge_at:
                self._judge_at = now + judge.EVERY_SECONDS / 2
                await self._judge()
            await self._deliver()
        except Unstorable as error:
            logger.error("Alerts could not be looked after: %s", error)

    async def _judge(self) -> None:
        for _rule in range(MOST_RULES):
            if not await self._ask(judge.judge_next):
                break
        await self._ask(partial(deliveries.give_up_of_inactive, reason=SWITCHED_OFF))

    async def _deliver(self) -> None:
        """The deliveries of one channel are an errand of their own: a channel that hangs delays nobody else."""
        take = partial(deliveries.take, busy=tuple(self._busy), lag_seconds=self._lag_seconds)
        of_channel: defaultdict[int, list[Taken]] = defaultdict(list)
        for taken in await self._ask(take) or ():
            of_channel[taken.channel_id].append(taken)
        for channel_id, chosen in of_channel.items():
            task = asyncio.get_running_loop().create_task(self._errand(chosen))
            self._busy[channel_id] = task
            task.add_done_callback(partial(self._back, channel_id))

    async def _errand(self, chosen: list[Taken]) -> None:
        await asyncio.gather(*map(self._send, chosen))

    async def _send(self, taken: Taken) -> None:
        ended = await courier.attempt(taken)
        try:
            await self._ask(partial(deliveries.record, taken=taken, ended=ended))
        except Unstorable as error:
            logger.error("What became of delivery %d could not be kept: %s", taken.id, error)

    def _back(self, channel_id: int, task: asyncio.Task[None]) -> None:
        del self._busy[channel_id]
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Deliveries of channel %d broke off", channel_id, exc_info=error)

    async def _rest(self) -> None:
        """Until the next look, or until a channel is free again, which may have more."""
        self._freed.clear()
        try:
            async with asyncio.timeout(self._look_seconds):
                await self._freed.wait()
        except TimeoutError:
            pass
