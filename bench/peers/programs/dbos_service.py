"""The measured flows as DBOS workflows: run by the process that takes them. DATABASE is its PostgreSQL."""

from __future__ import annotations

import os

from dbos import DBOS, SetWorkflowID
from front import make_app, serve
from steps_client import call as call_step

CONNECTIONS = 15

DBOS(
    config={
        "name": "bench",
        "executor_id": os.environ["PORT"],
        "application_version": "1",
        "log_level": "WARNING",
        "system_database_url": os.environ["DATABASE"],
        "sys_db_pool_size": CONNECTIONS,
    }
)


@DBOS.step(retries_allowed=True, interval_seconds=1.0, max_attempts=3, backoff_rate=1.0)
async def call(key: str, path: str) -> dict:
    return await call_step(key, path)


@DBOS.workflow(name="W3")
async def three(flow: str) -> bool:
    for step in "abc":
        found = await call(f"{flow}:{step}", "/step")
    return found["ok"]


@DBOS.workflow(name="R1")
async def retried(flow: str) -> bool:
    return (await call(f"{flow}:a", "/retry"))["ok"]


WORKFLOWS = {"W3": three, "R1": retried}


async def start(flow: str, key: str) -> None:
    with SetWorkflowID(key):
        await DBOS.start_workflow_async(WORKFLOWS[flow], key)


async def run(flow: str, key: str) -> None:
    with SetWorkflowID(key):
        handle = await DBOS.start_workflow_async(WORKFLOWS[flow], key)
    await handle.get_result()


if __name__ == "__main__":
    DBOS.launch()
    serve(make_app(start=start, run=run))
