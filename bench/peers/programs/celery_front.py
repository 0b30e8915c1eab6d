"""Puts flows into Celery's queue as a web process would, from a pool of threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from celery_tasks import flow_of
from front import make_app, serve

threads = ThreadPoolExecutor(8)
RESULT_SECONDS = 60


async def start(name: str, key: str) -> None:
    await asyncio.get_running_loop().run_in_executor(threads, flow_of(name, key).apply_async)


async def run(name: str, key: str) -> None:
    def wait() -> None:
        flow_of(name, key).apply_async().get(timeout=RESULT_SECONDS, interval=0.005)

    await asyncio.get_running_loop().run_in_executor(threads, wait)


if __name__ == "__main__":
    serve(make_app(start=start, run=run))
