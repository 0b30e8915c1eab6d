"""One call of the step server, by aiohttp. STEPS is its address."""

from __future__ import annotations

import os

import aiohttp

STEPS = os.environ["STEPS"]
sessions: list[aiohttp.ClientSession] = []


def session() -> aiohttp.ClientSession:
    """One for the process: its event loop lives as long."""
    if not sessions:
        sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    return sessions[0]


async def call(key: str, path: str) -> dict:
    headers = {"Idempotency-Key": key}
    async with session().post(STEPS + path, json={"key": key}, headers=headers) as response:
        response.raise_for_status()
        return await response.json()
