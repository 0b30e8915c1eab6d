"""The lookout of a web process in a thread of the test, only quicker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from django.db import connections

from dist_task.alerts.lookout import Lookout


class LookoutThread(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._began = threading.Event()

    def run(self) -> None:
        asyncio.run(self._work())
        connections.close_all()

    async def _work(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._began.set()
        with suppress(asyncio.CancelledError):
            await Lookout(look_seconds=0.05, lag_seconds=0.0).run()

    def stop(self) -> None:
        """Whatever it is at: what it had taken stays taken."""
        self._began.wait(10)
        if self.is_alive() and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self.join(30)
        assert not self.is_alive()


@pytest.fixture
def lookout(transactional_db: None) -> Iterator[Callable[[], LookoutThread]]:
    threads: list[LookoutThread] = []

    def begin_one() -> LookoutThread:
        threads.append(LookoutThread())
        threads[-1].start()
        return threads[-1]

    yield begin_one
    for thread in threads:
        thread.stop()
