"""Flows per second, and what a flow costs: CPU by kind of process, memory, WAL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from bench.client import ALL_SECONDS, CallFailed, post_all, request
from bench.processes import cpu_by_kind, memory_by_kind
from bench.stand import Stand
from bench.steps import ask, await_steps, forget
from bench.workloads import CALLS, TASKS

CONNECTIONS = 32
BATCH = 1_000
BATCH_CONNECTIONS = 2
POLL_SECONDS = 0.1
STARTS = "/api/v1/transactions"

LAST_ID = "SELECT coalesce(max(id), 0) FROM transactions_transaction"
FINISHED = """
    SELECT count(*) FILTER (WHERE status = 'success'), count(*) FILTER (WHERE status IN ('failed', 'cancelled')),
           extract(epoch FROM max(completed_at))::float8
    FROM transactions_transaction WHERE id > %s
"""
Found = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Bench:
    stand: Stand
    prefix: str  # of the instance ids of this round

    def bodies(self, flow: str, *, count: int, name: str) -> list[dict[str, Any]]:
        flow_id = self.stand.flow_ids[flow]
        return [{"instance_id": f"{self.prefix}-{name}-{n}", "flow_id": flow_id, "params": {}} for n in range(count)]

    def last_id(self) -> int:
        return int(self.stand.query(LAST_ID)[0][0])


async def throughput(bench: Bench, *, flow: str, count: int) -> Found:
    """Started one by one, over 32 connections."""
    port = bench.stand.port
    requests = [request("POST", STARTS, port=port, body=body) for body in bench.bodies(flow, count=count, name=flow)]
    send = _sender(requests, port=port, connections=CONNECTIONS)
    return await _measure(bench, name=flow, flow=flow, count=count, send=send)


async def batch_throughput(bench: Bench, *, flow: str, count: int) -> Found:
    """Started a thousand at a time."""
    name, port = f"{flow}batch", bench.stand.port
    bodies = bench.bodies(flow, count=count, name=name)
    batches = [{"transactions": bodies[start : start + BATCH]} for start in range(0, count, BATCH)]
    requests = [request("POST", f"{STARTS}/batch", port=port, body=batch) for batch in batches]
    send = _sender(requests, port=port, connections=BATCH_CONNECTIONS)
    return await _measure(bench, name=name, flow=flow, count=count, send=send)


def _sender(requests: list[bytes], *, port: int, connections: int) -> Callable[[], Awaitable[None]]:
    return lambda: post_all(requests, ports=[port], connections=connections)


async def _measure(bench: Bench, *, name: str, flow: str, count: int, send: Callable[[], Awaitable[None]]) -> Found:
    """From the first request to the last transaction's completion, as its row says: both are this machine's clock."""
    await forget(bench.stand.step_port)
    after = bench.last_id()
    cost = await Cost.begin(bench.stand)
    began = time.time()
    await send()
    accepted = time.time()
    await await_steps(bench.stand.step_port, count=CALLS[flow] * count)
    ended = await all_done(bench.stand, after=after, count=count)
    found = await cost.end(name, count=count)
    seconds = ended - began
    found[name] |= {
        "flows_per_second": count / seconds,
        "tasks_per_second": count * TASKS[flow] / seconds,
        "starts_per_second": count / (accepted - began),
    }
    return found


async def all_done(stand: Stand, *, after: int, count: int) -> float:
    """When the last one of the transactions beyond that id succeeded, in seconds since 1970."""
    deadline = time.monotonic() + ALL_SECONDS
    with closing(stand.connect()) as connection, connection.cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(FINISHED, [after])
            succeeded, ended_badly, seconds = cursor.fetchall()[0]
            if ended_badly:
                raise CallFailed(f"{ended_badly} of {count} transactions did not succeed")
            if succeeded == count:
                return float(seconds)
            await asyncio.sleep(POLL_SECONDS)
    raise CallFailed(f"{succeeded} of {count} transactions have ended after {ALL_SECONDS:g} s")


@dataclass(frozen=True, slots=True)
class Cost:
    """What was used up when a workload began."""

    stand: Stand
    drains: set[int]
    cpu: dict[str, float]
    steps_cpu: float
    client_cpu: float
    wal: int

    @classmethod
    async def begin(cls, stand: Stand) -> Cost:
        drains, steps = stand.drains(), await ask(stand.step_port, "/counts")
        cpu = cpu_by_kind(stand.processes(), drains=drains)
        return cls(stand, drains, cpu, steps["cpu_seconds"], time.process_time(), _wal(stand))

    async def end(self, name: str, *, count: int) -> Found:
        """The workload's figures, its CPU milliseconds per flow, and the memory at its end, in MB."""
        found, steps = self.stand.processes(), await ask(self.stand.step_port, "/counts")
        used = {kind: all_ - self.cpu.get(kind, 0.0) for kind, all_ in cpu_by_kind(found, drains=self.drains).items()}
        service = sum(used.values())
        used |= {"step_server": steps["cpu_seconds"] - self.steps_cpu, "client": time.process_time() - self.client_cpu}
        memory = memory_by_kind(found, drains=self.drains)
        return {
            name: {
                "repeated_calls": steps["calls"] - steps["distinct"],
                "cpu_ms_per_flow": service / count * 1000,
                "wal_bytes_per_flow": (_wal(self.stand) - self.wal) / count,
            },
            f"{name}.cpu_ms_per_flow": {kind: seconds / count * 1000 for kind, seconds in used.items()},
            f"{name}.pss_mb": {kind: size.pss for kind, size in memory.items()},
            f"{name}.rss_mb": {kind: size.rss for kind, size in memory.items()},
        }


def _wal(stand: Stand) -> int:
    return int(stand.query("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])
