"""The service when it has nothing to do: CPU and memory, by kind of process."""

from __future__ import annotations

import time

from bench.disk import durable_write_ms
from bench.processes import Memory, cpu_by_kind, memory_by_kind
from bench.stand import Stand
from bench.throughput import Found


def quiet(stand: Stand, *, seconds: float) -> Found:
    """CPU is in percent of one core over `seconds`; work that housekeeping does meanwhile is in it."""
    drains = stand.drains()
    before, began = cpu_by_kind(stand.processes(), drains=drains), time.monotonic()
    time.sleep(seconds)
    found, lasted = stand.processes(), time.monotonic() - began
    used = {kind: all_ - before.get(kind, 0.0) for kind, all_ in cpu_by_kind(found, drains=drains).items()}
    memory = memory_by_kind(found, drains=drains)
    percent = {kind: cpu / lasted * 100 for kind, cpu in used.items()}
    return {
        "start": {"second_seconds": stand.start_seconds},
        "disk": {"write_p50_ms": durable_write_ms(stand.data)},
        "quiet.cpu_percent": {"all": sum(percent.values()), **percent},
        "quiet.pss_mb": {kind: size.pss for kind, size in memory.items()},
        "quiet.rss_mb": {kind: size.rss for kind, size in memory.items()},
        "memory": _totals(memory, processes=len(found)),
    }


def _totals(memory: dict[str, Memory], *, processes: int) -> dict[str, float]:
    without = [size for kind, size in memory.items() if kind != "postgres"]
    return {
        "processes": processes,
        "pss_mb": sum(size.pss for size in memory.values()),
        "rss_mb": sum(size.rss for size in memory.values()),
        "pss_without_postgres_mb": sum(size.pss for size in without),
        "rss_without_postgres_mb": sum(size.rss for size in without),
    }
