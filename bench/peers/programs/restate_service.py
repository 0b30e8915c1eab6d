"""The measured flows as a Restate service (its Python SDK). STEPS is the address of the step server."""

from __future__ import annotations

import os
from datetime import timedelta

import aiohttp
import restate

STEPS = os.environ["STEPS"]
RETRIES = restate.RunOptions(
    initial_retry_interval=timedelta(seconds=1), retry_interval_factor=1.0, max_retry_interval=timedelta(seconds=1)
)
sessions: list[aiohttp.ClientSession] = []
bench = restate.Service("Bench")


def session() -> aiohttp.ClientSession:
    if not sessions:
        sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    return sessions[0]


async def call(key: str, path: str) -> dict:
    headers = {"Idempotency-Key": key}
    async with session().post(STEPS + path, json={"key": key}, headers=headers) as response:
        response.raise_for_status()
        return await response.json()


@bench.handler("W3")
async def three(ctx: restate.Context, flow: str) -> bool:
    for step in "abc":
        found = await ctx.run_typed(step, call, RETRIES, key=f"{flow}:{step}", path="/step")
    return found["ok"]


@bench.handler("R1")
async def retried(ctx: restate.Context, flow: str) -> bool:
    return (await ctx.run_typed("a", call, RETRIES, key=f"{flow}:a", path="/retry"))["ok"]


app = restate.app(services=[bench])
