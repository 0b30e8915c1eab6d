"""The measured flows as Procrastinate jobs, each of which defers the next. DATABASE is its PostgreSQL.

Arguments: schema, worker or front.
"""

from __future__ import annotations

import asyncio
import os
import sys

import procrastinate
import uvloop
from front import make_app, serve
from steps_client import call

CONNECTIONS = 10
JOBS = 32
POLL_SECONDS = 0.002
DONE = """
    SELECT count(*) AS n FROM procrastinate_jobs WHERE task_name = 'c' AND args->>'flow' = %(flow)s
    AND status = 'succeeded'
"""
INDEX = "CREATE INDEX ON procrastinate_jobs ((args->>'flow')) WHERE task_name = 'c'"
"""So that looking for the end of a flow costs next to nothing."""

connector = procrastinate.PsycopgConnector(conninfo=os.environ["DATABASE"], max_size=CONNECTIONS)
app = procrastinate.App(connector=connector)
retry = procrastinate.RetryStrategy(max_attempts=3, wait=1)


@app.task(name="a", retry=retry)
async def first(flow: str) -> None:
    await call(f"{flow}:a", "/step")
    await second.defer_async(flow=flow)


@app.task(name="b", retry=retry)
async def second(flow: str) -> None:
    await call(f"{flow}:b", "/step")
    await third.defer_async(flow=flow)


@app.task(name="c", retry=retry)
async def third(flow: str) -> None:
    await call(f"{flow}:c", "/step")


@app.task(name="R1", retry=retry)
async def retried(flow: str) -> None:
    await call(f"{flow}:a", "/retry")


async def start(name: str, key: str) -> None:
    await (retried if name == "R1" else first).defer_async(flow=key)


async def run(name: str, key: str) -> None:
    await start(name, key)
    while not (await connector.execute_query_one_async(DONE, flow=key))["n"]:
        await asyncio.sleep(POLL_SECONDS)


async def make_schema() -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await connector.execute_query_async(INDEX)


async def work() -> None:
    async with app.open_async():
        await app.run_worker_async(concurrency=JOBS)


async def open_app() -> None:
    await app.open_async()


if __name__ == "__main__":
    if sys.argv[1] == "schema":
        uvloop.run(make_schema())
    elif sys.argv[1] == "worker":
        uvloop.run(work())
    else:
        serve(make_app(start=start, run=run, prepare=open_app))
