"""kill -9 of a worker with work in flight: when the next calls come, and how many are made twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.client import CallFailed, post_all, request
from bench.stand import Stand
from bench.steps import ask, forget
from bench.throughput import CONNECTIONS, STARTS, Bench, Found, all_done
from bench.workloads import SLOW

FLOWS = 200
CALLS_BEFORE_KILL = 300
KILLS = 3
LIFE_SECONDS = 60.0
PAUSE_SECONDS = 0.01
UNDER_WAY_SECONDS = 0.005
"""A call that the step server reads so soon after the kill was sent before it."""

VICTIM = """
    SELECT w.pid, array_agg(t.instance_id) FROM transactions_transaction t JOIN dist_task_worker w ON w.id = t.owner
    WHERE w.lease_until > clock_timestamp() GROUP BY w.pid ORDER BY count(*) DESC LIMIT 1
"""
RECORDED = """
    SELECT count(*) FROM dist_task_taskrun r JOIN transactions_transaction t ON t.id = r.transaction_id
    WHERE r.status = 'success' AND t.instance_id = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Call:
    key: str
    instance: str
    came_at: float
    answered_at: float | None


async def recovery(bench: Bench, *, kills: int) -> Found:
    """Medians of several kills; `lost` is of all of them."""
    found = [await _kill_one(Bench(bench.stand, f"{bench.prefix}-kill{number}")) for number in range(kills)]
    medians = {name: median(each[name] for each in found) for name in found[0]}
    return {"recovery": {**medians, "lost": sum(each["lost"] for each in found), "kills": kills}}


async def _kill_one(bench: Bench) -> dict[str, float]:
    stand = bench.stand
    workers = await _await_workers(stand, count=2)
    await forget(stand.step_port)
    after, port = bench.last_id(), stand.port
    requests = [request("POST", STARTS, port=port, body=body) for body in bench.bodies("S10", count=FLOWS, name="slow")]
    await post_all(requests, ports=[port], connections=CONNECTIONS)
    while (await ask(stand.step_port, "/counts"))["calls"] < CALLS_BEFORE_KILL:
        await asyncio.sleep(PAUSE_SECONDS)
    victim, held = _victim(stand)
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    recorded = int(stand.query(RECORDED, [held])[0][0])
    ended = await all_done(stand, after=after, count=FLOWS)
    seconds = ended - (time.time() - (time.monotonic() - killed_at))
    calls = [Call(*each) for each in (await ask(stand.step_port, "/calls"))["calls"]]
    await _await_workers(stand, count=len(workers), without={victim})
    found = judge(calls, killed_at=killed_at, held=held, steps=FLOWS * SLOW)
    return {**found, "unrecorded": found["called_held"] - recorded, "all_done_seconds": seconds}


def judge(calls: Sequence[Call], *, killed_at: float, held: Sequence[str], steps: int) -> dict[str, float]:
    """`held` are the transactions of the worker that was killed; `called_held`, what it had called of them."""
    seen = Counter(call.key for call in calls)
    of_victim = set(held)
    before = [call for call in calls if call.came_at <= killed_at + UNDER_WAY_SECONDS]
    in_flight = [call for call in before if call.answered_at is None or call.answered_at > killed_at]
    after = [call for call in calls if call.came_at > killed_at + UNDER_WAY_SECONDS]
    of_held = [call.came_at for call in after if call.instance in of_victim]
    return {
        "next_call_seconds": min(call.came_at for call in after) - killed_at,
        "next_held_call_seconds": min(of_held) - killed_at,
        "held": len(of_victim),
        "called_held": len({call.key for call in before if call.instance in of_victim}),
        "in_flight": len(in_flight),
        "in_flight_held": sum(call.instance in of_victim for call in in_flight),
        "repeated": len(calls) - len(seen),
        "lost": steps - len(seen),
    }


def _victim(stand: Stand) -> tuple[int, list[str]]:
    """The worker that holds most, and what it holds."""
    found = stand.query(VICTIM)
    if not found:
        raise CallFailed("no worker held a transaction when one was to be killed")
    return int(found[0][0]), list(found[0][1])


async def _await_workers(stand: Stand, *, count: int, without: set[int] | None = None) -> set[int]:
    """Until so many workers have a lease, and those of `without` have been taken for dead or are not counted."""
    deadline = time.monotonic() + LIFE_SECONDS
    while len(found := stand.drains() - (without or set())) < count:
        if time.monotonic() > deadline:
            raise CallFailed(f"{len(found)} of {count} workers live {LIFE_SECONDS:g} s after a kill")
        await asyncio.sleep(0.2)
    return found
