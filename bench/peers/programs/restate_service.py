"""The measured flows as a Restate service (its Python SDK)."""

from __future__ import annotations

from datetime import timedelta

import restate
from steps_client import call

RETRIES = restate.RunOptions(
    initial_retry_interval=timedelta(seconds=1), retry_interval_factor=1.0, max_retry_interval=timedelta(seconds=1)
)
bench = restate.Service("Bench")


@bench.handler("W3")
async def three(ctx: restate.Context, flow: str) -> bool:
    for step in "abc":
        found = await ctx.run_typed(step, call, RETRIES, key=f"{flow}:{step}", path="/step")
    return found["ok"]


@bench.handler("R1")
async def retried(ctx: restate.Context, flow: str) -> bool:
    return (await ctx.run_typed("a", call, RETRIES, key=f"{flow}:a", path="/retry"))["ok"]


app = restate.app(services=[bench])
