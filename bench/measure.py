"""The measurements: flows per second, latency while idle, lateness of a retry, memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.client import CallFailed, Connection, post_all
from bench.stand import Stand, connect

CONNECTIONS = 32
BATCH = 1_000
DONE_SECONDS = 600.0
POLL_SECONDS = 0.1
LATE_FLOWS = 50
LATE_PAUSE_SECONDS = 0.05

FINISHED = """
    SELECT count(*) FILTER (WHERE status = 'success'),
           count(*) FILTER (WHERE status IN ('failed', 'cancelled')),
           extract(epoch FROM max(completed_at) - min(created_at))
    FROM transactions_transaction WHERE instance_id LIKE %s
"""
DURATIONS = """
    SELECT extract(epoch FROM completed_at - created_at)::float8
    FROM transactions_transaction WHERE instance_id LIKE %s ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Bench:
    stand: Stand
    flow_ids: dict[str, str]
    prefix: str  # of the instance ids of this round

    def bodies(self, flow: str, *, count: int, name: str) -> list[dict[str, Any]]:
        flow_id = self.flow_ids[flow]
        return [{"instance_id": f"{self.prefix}-{name}-{n}", "flow_id": flow_id, "params": {}} for n in range(count)]

    async def calls(self) -> dict[str, float]:
        """Since the last `forget_calls`; a call is repeated when its Idempotency-Key was seen before."""
        found = await self.ask_steps("GET", "/counts")
        return {"made": found["calls"], "repeated": found["calls"] - found["distinct"]}

    async def forget_calls(self) -> None:
        await self.ask_steps("POST", "/reset")

    async def ask_steps(self, method: str, path: str) -> Any:
        with closing(Connection(host="127.0.0.1", port=self.stand.step_port)) as connection:
            return await connection.call(method, path)


async def create_flows(stand: Stand, *, flows: dict[str, dict[str, Any]]) -> dict[str, str]:
    with closing(Connection(host="127.0.0.1", port=stand.port)) as connection:
        answers = {name: await connection.call("POST", "/api/v1/flows", body=flow) for name, flow in flows.items()}
    return {name: answer["data"]["id"] for name, answer in answers.items()}


async def throughput(bench: Bench, *, flow: str, count: int) -> dict[str, float]:
    """Started one by one; from the first creation to the last completion, on the database's clock."""
    bodies = bench.bodies(flow, count=count, name=flow)
    return await _run(
        bench,
        name=flow,
        count=count,
        send=lambda: post_all(bodies, port=bench.stand.port, path="/api/v1/transactions", connections=CONNECTIONS),
    )


async def batch_throughput(bench: Bench, *, flow: str, count: int) -> dict[str, float]:
    name = f"{flow}batch"
    bodies = bench.bodies(flow, count=count, name=name)
    batches = [{"transactions": bodies[start : start + BATCH]} for start in range(0, count, BATCH)]
    path = "/api/v1/transactions/batch"
    return await _run(
        bench,
        name=name,
        count=count,
        send=lambda: post_all(batches, port=bench.stand.port, path=path, connections=2),
    )


async def _run(bench: Bench, *, name: str, count: int, send: Callable[[], Any]) -> dict[str, float]:
    began = time.monotonic()
    await send()
    accepted_seconds = time.monotonic() - began
    seconds = await _all_done(bench.stand.data, pattern=f"{bench.prefix}-{name}-%", count=count)
    return {"flows_per_second": count / seconds, "starts_per_second": count / accepted_seconds}


async def _all_done(data: Path, *, pattern: str, count: int) -> float:
    deadline = time.monotonic() + DONE_SECONDS
    with closing(connect(data)) as connection, connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(FINISHED, [pattern])
            succeeded, ended_badly, seconds = cursor.fetchone()
            if ended_badly:
                raise CallFailed(f"{ended_badly} of {count} transactions ({pattern}) did not succeed")
            if succeeded == count:
                return float(seconds)
            await asyncio.sleep(POLL_SECONDS)
    raise CallFailed(f"{succeeded} of {count} transactions ({pattern}) have ended after {DONE_SECONDS:g} s")


async def latency(bench: Bench, *, flow: str, count: int) -> dict[str, float]:
    """One after the other on an idle service: from the POST to the answer of `?wait=`, and in the row."""
    seen = []
    with closing(Connection(host="127.0.0.1", port=bench.stand.port)) as connection:
        for body in bench.bodies(flow, count=count, name="idle"):
            began = time.monotonic()
            await connection.call("POST", "/api/v1/transactions", body=body)
            answer = await connection.call("GET", f"/api/v1/transactions/{body['instance_id']}?wait=20")
            seen.append(time.monotonic() - began)
            if answer["data"]["status"] != "success":
                raise CallFailed(f"{body['instance_id']} is {answer['data']['status']}")
    with closing(connect(bench.stand.data)) as database, database.cursor() as cursor:
        cursor.execute(DURATIONS, [f"{bench.prefix}-idle-%"])
        in_row = [row[0] for row in cursor.fetchall()]
    return {**_percentiles(seen, name="seen"), **_percentiles(in_row, name="row")}


async def lateness(bench: Bench) -> dict[str, float]:
    """How late a retry due in one second reaches the service, as the service sees it."""
    await bench.forget_calls()
    with closing(Connection(host="127.0.0.1", port=bench.stand.port)) as connection:
        for body in bench.bodies("R1", count=LATE_FLOWS, name="late"):
            await connection.call("POST", "/api/v1/transactions", body=body)
            await asyncio.sleep(LATE_PAUSE_SECONDS)
    await _all_done(bench.stand.data, pattern=f"{bench.prefix}-late-%", count=LATE_FLOWS)
    found = await bench.ask_steps("GET", "/lateness")
    return _percentiles(found["late_seconds"], name="late")


def _percentiles(seconds: list[float], *, name: str) -> dict[str, float]:
    """In milliseconds."""
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return {f"{name}_p{percent}_ms": ordered[round(last * percent / 100)] * 1000 for percent in (50, 99)}
