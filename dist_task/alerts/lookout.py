"""The look of a web process at alerts, in a thread: slow, and last in line, for when no worker lives to look."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from dist_task.engine.alerts.watch import Watch
from dist_task.engine.clerk import Clerk
from dist_task.engine.registered import Registered
from dist_task.executors.outbound import OUTBOUND

LOOK_SECONDS = 10.0
LAG_SECONDS = 5.0
"""Workers look every second: what has been due for so long, none of them has made."""


def keep_lookout(*, look_seconds: float = LOOK_SECONDS, lag_seconds: float = LAG_SECONDS) -> threading.Thread:
    """Begins to look, until the process ends."""
    look = Lookout(look_seconds=look_seconds, lag_seconds=lag_seconds)
    thread = threading.Thread(target=asyncio.run, args=(look.run(),), name="lookout", daemon=True)
    thread.start()
    return thread


class Lookout:
    def __init__(self, *, look_seconds: float, lag_seconds: float) -> None:
        self._look_seconds = look_seconds
        self._lag_seconds = lag_seconds
        self._registered = Registered()

    async def run(self) -> None:
        await asyncio.sleep(self._look_seconds)  # the database may be migrated just now
        self._clerk = Clerk()
        try:
            await Watch(self._ask, look_seconds=self._look_seconds, lag_seconds=self._lag_seconds).run()
        finally:
            self._clerk.abandon()
            await OUTBOUND.close()

    async def _ask(self, work: Callable[[Any], Any]) -> Any:
        return await self._clerk.request(partial(self._informed, work), is_atomic=True)

    def _informed(self, work: Callable[[Any], Any], cursor: Any) -> Any:
        """A web process makes no calls but these, so nobody else has looked for secrets."""
        self._registered.refresh(cursor)
        return work(cursor)
