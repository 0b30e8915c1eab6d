"""What a worker does by the verbs that everybody uses: seldom, in a thread with a connection of Django's own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import DatabaseError, InterfaceError, connection

from dist_task.database import is_unreachable

from .committer import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS

logger = logging.getLogger(__name__)


class Aside:
    """Works off requests one after the other; what an unreachable database did not take is asked for again."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")
        self._is_abandoned = False

    def request(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """The future's result is what `work` returned or raised. `work` is one database transaction, and may be done
        twice when the connection breaks."""
        return asyncio.wrap_future(self._thread.submit(self._surely, work))

    async def close(self) -> None:
        """What has not begun is left."""
        self._is_abandoned = True
        disconnected = self._thread.submit(_disconnect)
        self._thread.shutdown(wait=False)
        await asyncio.wrap_future(disconnected)

    def _surely(self, work: Callable[[], Any]) -> Any:
        pause = FIRST_PAUSE_SECONDS
        while not self._is_abandoned:
            try:
                return work()
            except (DatabaseError, InterfaceError) as error:
                if not is_unreachable(error.__cause__ or error):
                    raise
                logger.warning("The database did not take a request: %s", error)
                _disconnect()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        raise asyncio.CancelledError


def _disconnect() -> None:
    """Of the thread that calls it: each has a connection of its own."""
    connection.close()
