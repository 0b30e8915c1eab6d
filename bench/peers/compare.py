"""One round of the comparison: this service, then each peer in turn, with one client and one step server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import uvloop

from bench.arguments import Arguments
from bench.children import StandFailed
from bench.client import ALL_SECONDS, CallFailed, Client, post_all, request
from bench.latency import LATE_FLOWS, LATE_PAUSE_SECONDS, latency, lateness, percentiles
from bench.peers.base import NotInstalled, Peer, Place, Running
from bench.peers.registry import PEERS
from bench.processes import Memory, cpu_seconds, memory_of, tree
from bench.stand import Stand
from bench.steps import ask, await_steps, forget
from bench.throughput import CONNECTIONS, Bench, Found, batch_throughput, throughput
from bench.workloads import TASKS

WAITING_CONNECTIONS = 64
WARM_UP = 20
POLL_SECONDS = 0.02
OURS, OURS_BATCH = "peer.dist_task", "peer.dist_task, in batches"


def compare(stand: Stand, *, number: int, folder: Path, arguments: Arguments) -> Found:
    """Per peer its figures, and ours as a multiple of each one's and of the fastest one's.

    Every second round goes the other way, so that nobody is always first.
    """
    found: Found = {}
    turns: list[Peer | None] = [None, *installed(arguments.peers)]
    for peer in reversed(turns) if number % 2 else turns:
        _say(peer.label if peer else "dist_task")
        if peer is None:
            found |= uvloop.run(_measure_ours(Bench(stand, f"r{number}-peers"), arguments=arguments))
            continue
        place = Place(_own_folder(folder, f"{peer.name}-{number}"), stand.step_port, stand)
        try:
            found[f"peer.{peer.label}"] = _measure_peer(peer, place, arguments=arguments)
        except (CallFailed, StandFailed, OSError) as reason:
            sys.stderr.write(f"  {peer.label} is left out of this round: {reason}\n")
    return found | ratios(found)


def _measure_peer(peer: Peer, place: Place, *, arguments: Arguments) -> dict[str, float]:
    flows = min(peer.flows, arguments.flows)
    with peer.running(place) as running:
        return uvloop.run(measure(running, step_port=place.step_port, flows=flows, idle=arguments.idle))


@cache
def installed(names: Sequence[str]) -> list[Peer]:
    """Those that could be installed; the reason of each other one is said."""
    found = []
    for peer in (PEERS[name] for name in names):
        try:
            peer.install()
        except NotInstalled as reason:
            sys.stderr.write(f"  {peer.label} is left out: {reason}\n")
        else:
            found.append(peer)
    return found


def _own_folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


async def _measure_ours(bench: Bench, *, arguments: Arguments) -> Found:
    found = await throughput(bench, flow="W3", count=arguments.flows)
    found |= await batch_throughput(bench, flow="W3", count=arguments.flows)
    found |= await latency(bench, flow="W3", count=arguments.idle)
    found |= await lateness(bench)
    names = ("flows_per_second", "cpu_ms_per_flow", "repeated_calls")
    ours = {name: found["W3"][name] for name in names}
    ours |= {"idle_p50_ms": found["idle"]["waited_p50_ms"], "idle_p99_ms": found["idle"]["waited_p99_ms"]}
    ours["pss_mb"] = sum(size for kind, size in found["W3.pss_mb"].items() if kind != "postgres")
    return {OURS: {**ours, **found["late"]}, OURS_BATCH: {name: found["W3batch"][name] for name in names}}


async def measure(running: Running, *, step_port: int, flows: int, idle: int) -> dict[str, float]:
    await _burst(running, name="warm", count=max(WARM_UP, flows // 2), waiting=False, step_port=step_port)
    await forget(step_port)
    started = await _burst(running, name="started", count=flows, waiting=False, step_port=step_port)
    waited = (
        await _burst(running, name="waited", count=flows, waiting=True, step_port=step_port)
        if running.waits_for_many
        else {}
    )
    best = max(started, waited, key=lambda each: each.get("flows_per_second", 0.0))
    return {
        **best,
        "started_flows_per_second": started["flows_per_second"],
        **{f"waited_{name}": value for name, value in waited.items() if name == "flows_per_second"},
        **percentiles(await _one_by_one(running, count=idle), name="idle"),
        **percentiles(await _late(running, step_port=step_port), name="late"),
        "pss_mb": sum(size.pss for size in _memory(running)),
    }


async def _burst(running: Running, *, name: str, count: int, waiting: bool, step_port: int) -> dict[str, float]:
    """From the first request until the peer says that nothing is unfinished."""
    await forget(step_port)
    make = running.run if waiting else running.start
    requests = [_request(running, *make("W3", f"{name}-{time.time_ns()}-{n}")) for n in range(count)]
    cpu, began = _cpu(running), time.monotonic()
    connections = WAITING_CONNECTIONS if waiting else CONNECTIONS
    await post_all(requests, ports=running.ports, connections=connections)
    await await_steps(step_port, count=TASKS["W3"] * count)
    await _until_finished(running)
    seconds = time.monotonic() - began
    counts = await ask(step_port, "/counts")
    return {
        "flows_per_second": count / seconds,
        "cpu_ms_per_flow": (_cpu(running) - cpu) / count * 1000,
        "repeated_calls": counts["calls"] - counts["distinct"],
    }


def _request(running: Running, path: str, body: object) -> bytes:
    return request("POST", path, port=running.ports[0], body=body)


async def _until_finished(running: Running) -> None:
    deadline = time.monotonic() + ALL_SECONDS
    while left := running.unfinished():
        if time.monotonic() > deadline:
            raise CallFailed(f"{left} flows of a peer have not ended after {ALL_SECONDS:g} s")
        await asyncio.sleep(POLL_SECONDS)


async def _one_by_one(running: Running, *, count: int) -> list[float]:
    seen = []
    with closing(Client(port=running.ports[0])) as client:
        for number in range(count):
            path, body = running.run("W3", f"idle-{time.time_ns()}-{number}")
            began = time.monotonic()
            await client.call("POST", path, body=body)
            seen.append(time.monotonic() - began)
    return seen


async def _late(running: Running, *, step_port: int) -> list[float]:
    await forget(step_port)
    with closing(Client(port=running.ports[0])) as client:
        for number in range(LATE_FLOWS):
            path, body = running.start("R1", f"late-{time.time_ns()}-{number}")
            await client.call("POST", path, body=body)
            await asyncio.sleep(LATE_PAUSE_SECONDS)
    deadline = time.monotonic() + ALL_SECONDS
    while len(found := (await ask(step_port, "/lateness"))["late_seconds"]) < LATE_FLOWS:
        if time.monotonic() > deadline:
            raise CallFailed(f"{len(found)} of {LATE_FLOWS} retries of a peer came")
        await asyncio.sleep(POLL_SECONDS)
    return list(found)


def _cpu(running: Running) -> float:
    return cpu_seconds(tree(*running.pids, *running.shared_pids))


def _memory(running: Running) -> list[Memory]:
    return [memory_of(process.pid) for process in tree(*running.pids)]


def ratios(found: Found) -> Found:
    """How many times faster; for times, how many times shorter."""
    peers = {name: values for name, values in found.items() if name not in (OURS, OURS_BATCH)}
    if not peers:
        return {}
    rates = {name: values["flows_per_second"] for name, values in peers.items()}
    shortest = min(values["idle_p50_ms"] for values in peers.values())
    ours, batch = found[OURS]["flows_per_second"], found[OURS_BATCH]["flows_per_second"]
    return {
        "ratios.one by one": {"the fastest": ours / max(rates.values()), **_over(ours, rates)},
        "ratios.in batches": {"the fastest": batch / max(rates.values()), **_over(batch, rates)},
        "ratios.idle p50": {"the fastest": shortest / found[OURS]["idle_p50_ms"]},
    }


def _over(ours: float, rates: dict[str, float]) -> dict[str, float]:
    return {name.removeprefix("peer."): ours / rate for name, rate in rates.items()}


def _say(name: str) -> None:
    sys.stderr.write(f"  {name}\n")
