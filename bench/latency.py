"""One transaction after the other on an idle service, and how late a retry comes."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

from bench.client import CallFailed, Client
from bench.steps import ask, forget
from bench.throughput import STARTS, Bench, Found, all_done

POLL_SECONDS = 0.001
LATE_FLOWS = 50
LATE_PAUSE_SECONDS = 0.05
DURATIONS = """
    SELECT extract(epoch FROM completed_at - created_at)::float8
    FROM transactions_transaction WHERE id > %s ORDER BY 1
"""


async def latency(bench: Bench, *, flow: str, count: int) -> Found:
    """From the POST to the success seen by `?wait=`, then to the success seen by reading again and again."""
    waited, waited_rows = await _one_by_one(bench, flow=flow, count=count, name="waited", polled=False)
    polled, polled_rows = await _one_by_one(bench, flow=flow, count=count, name="polled", polled=True)
    found = {**percentiles(waited, name="waited"), **percentiles(polled, name="polled")}
    found |= {**percentiles(waited_rows, name="row"), **percentiles(polled_rows, name="polled_row")}
    return {"idle": found}


async def _one_by_one(
    bench: Bench, *, flow: str, count: int, name: str, polled: bool
) -> tuple[list[float], list[float]]:
    """Seconds as the client saw them, and between creation and completion as the rows say."""
    after, seen = bench.last_id(), []
    with closing(Client(port=bench.stand.port)) as client:
        for body in bench.bodies(flow, count=count, name=name):
            path = f"{STARTS}/{body['instance_id']}"
            began = time.monotonic()
            await client.call("POST", STARTS, body=body)
            status = await (_poll(client, path) if polled else _wait(client, path))
            seen.append(time.monotonic() - began)
            if status != "success":
                raise CallFailed(f"{body['instance_id']} is {status}")
    return seen, [row[0] for row in bench.stand.query(DURATIONS, [after])]


async def _wait(client: Client, path: str) -> str:
    return str((await client.call("GET", f"{path}?wait=20"))["data"]["status"])


async def _poll(client: Client, path: str) -> str:
    """A read every millisecond after the answer of the last one."""
    while (status := (await client.call("GET", path))["data"]["status"]) in ("pending", "running"):
        await asyncio.sleep(POLL_SECONDS)
    return str(status)


async def lateness(bench: Bench) -> Found:
    """How late a retry due in one second reaches the called service, as that service sees it."""
    await forget(bench.stand.step_port)
    after = bench.last_id()
    with closing(Client(port=bench.stand.port)) as client:
        for body in bench.bodies("R1", count=LATE_FLOWS, name="late"):
            await client.call("POST", STARTS, body=body)
            await asyncio.sleep(LATE_PAUSE_SECONDS)
    await all_done(bench.stand, after=after, count=LATE_FLOWS)
    return {"late": percentiles((await ask(bench.stand.step_port, "/lateness"))["late_seconds"], name="late")}


def percentiles(seconds: list[float], *, name: str) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {f"{name}_p{percent}_ms": ordered[round(last * percent / 100)] * 1000 for percent in (50, 99)}
