"""A real worker in a thread of the test: the same drain that runs inside django-q2."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from django.db import connections

from dist_task.engine.drain import Drain
from dist_task.errors import LeaseLost


class WorkerThread:
    def __init__(self) -> None:
        self._stop = threading.Event()
        self.error: BaseException | None = None
        self.drain: Drain | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> WorkerThread:
        self._thread.start()
        wait_for(lambda: self.drain is not None or self.error is not None)
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the worker did not stop"

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except LeaseLost as error:
            self.error = error
        finally:
            connections.close_all()

    async def _work(self) -> None:
        self.drain = Drain(cluster="test", should_stop=self._stop.is_set, on_tick=lambda worker_id: None)
        await self.drain.run()


def wait_for(condition: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Polls until the condition holds; the bound is wide, for a machine that is busy with other things."""
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at, "it did not happen in time"
        time.sleep(0.005)
