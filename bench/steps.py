"""What the step server saw, asked by the benchmark."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from typing import Any

from bench.client import ALL_SECONDS, CallFailed, Client

PAUSE_SECONDS = 0.01


async def ask(port: int, path: str, *, method: str = "GET") -> Any:
    with closing(Client(port=port)) as client:
        return await client.call(method, path)


async def forget(port: int) -> None:
    await ask(port, "/reset", method="POST")


async def await_steps(port: int, *, count: int) -> None:
    """Until so many different steps were called. Asking here costs the measured service nothing."""
    deadline = time.monotonic() + ALL_SECONDS
    with closing(Client(port=port)) as client:
        while (found := (await client.call("GET", "/counts"))["distinct"]) < count:
            if time.monotonic() > deadline:
                raise CallFailed(f"{found} of {count} steps were called within {ALL_SECONDS:g} s")
            await asyncio.sleep(PAUSE_SECONDS)
