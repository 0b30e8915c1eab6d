"""What django-q2's workers run: one constant function. What to do is always read from our own tables."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg2
import uvloop
from django.db import connections

from dist_task import failpoints, garbage
from dist_task.errors import DatabaseUnavailable, LeaseLost

from . import board as boards
from .drain import Drain

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5


def drain(cluster: str) -> None:
    """Works off what is due, under one lease after the other, until the time box ends or the cluster stops."""
    shared = boards.board

    def should_stop() -> bool:
        return shared is not None and shared.is_stopping

    def on_tick(worker_id: int) -> None:
        if shared is not None:
            shared.tick(worker_id=worker_id)

    failpoints.hit("drain.begin")
    garbage.settle()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_under_leases(cluster, should_stop=should_stop, on_tick=on_tick))
    finally:
        failpoints.hit("drain.end")
        if shared is not None:
            shared.leave()
        connections.close_all()


async def _under_leases(cluster: str, *, should_stop: Callable[[], bool], on_tick: Callable[[int], None]) -> None:
    """A worker whose lease ran out drops its work and goes on under a new id, once the database answers."""
    while not should_stop():
        try:
            await Drain(cluster=cluster, should_stop=should_stop, on_tick=on_tick).run()
            return
        except LeaseLost:
            logger.warning("Going on under a new lease.")
        except (psycopg2.OperationalError, DatabaseUnavailable) as error:
            logger.warning("No lease to be had: %s", error)
            on_tick(0)
            await asyncio.sleep(PAUSE_SECONDS)
