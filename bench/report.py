"""Medians with the least and the most, one table for people, one JSON file for comparing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.arguments import Arguments
from bench.throughput import Found
from bench.workloads import TASKS

RESULTS = Path(__file__).resolve().parent / "results"
LABELS = {
    "W3": "W3 three HTTP tasks, one by one",
    "W3batch": "W3 three HTTP tasks, in batches",
    "W0": "W0 three noop tasks",
    "P5": "P5 five HTTP tasks, out and in",
    "F100": "F100 a fan of 100 HTTP tasks",
    "C100": "C100 a chain of 100 HTTP tasks",
    "W3empty": "W3, empty tables",
    "W3full": "W3, big tables",
}
ROWS = (
    ("idle W3, POST to success, by ?wait=, p50", "idle", "waited_p50_ms", "ms"),
    ("idle W3, POST to success, by ?wait=, p99", "idle", "waited_p99_ms", "ms"),
    ("idle W3, POST to success, by polling, p50", "idle", "polled_p50_ms", "ms"),
    ("idle W3, POST to success, by polling, p99", "idle", "polled_p99_ms", "ms"),
    ("idle W3, created to completed in the row, p50", "idle", "row_p50_ms", "ms"),
    ("idle W3, created to completed in the row, p99", "idle", "row_p99_ms", "ms"),
    ("retry due in 1 s comes late by, p50", "late", "late_p50_ms", "ms"),
    ("retry due in 1 s comes late by, p99", "late", "late_p99_ms", "ms"),
    ("worker killed: next call at all after", "recovery", "next_call_seconds", "s"),
    ("worker killed: next call of what it held after", "recovery", "next_held_call_seconds", "s"),
    ("worker killed: everything done after", "recovery", "all_done_seconds", "s"),
    ("worker killed: its calls without an answer", "recovery", "in_flight_held", ""),
    ("worker killed: its calls without a recorded result", "recovery", "unrecorded", ""),
    ("worker killed: calls that were made twice", "recovery", "repeated", ""),
    ("worker killed: steps lost", "recovery", "lost", ""),
    ("one durable write of this disk, p50", "disk", "write_p50_ms", "ms"),
    ("second start to ready", "start", "second_seconds", "s"),
    ("CPU when idle, of one core", "quiet.cpu_percent", "all", "%"),
    ("processes when idle", "memory", "processes", ""),
    ("memory when idle, PSS", "memory", "pss_mb", "MB"),
    ("memory when idle, RSS", "memory", "rss_mb", "MB"),
    ("memory when idle without PostgreSQL, PSS", "memory", "pss_without_postgres_mb", "MB"),
    ("memory when idle without PostgreSQL, RSS", "memory", "rss_without_postgres_mb", "MB"),
    ("history: transactions added", "history", "transactions", ""),
    ("history: task runs", "history", "dist_task_taskrun_rows", ""),
    ("history: log entries", "history", "dist_task_executionlog_rows", ""),
    ("history: size of the three tables", "history", "megabytes", "MB"),
    ("W3 with big tables over W3 with empty ones", "bigtables", "full_over_empty", ""),
    *(
        (f"{name}: {figure} here over the other checkout", "against", f"{group}_{key}", "")
        for group, name in (("W3", "W3, one by one"), ("W3batch", "W3, in batches"), ("P5", "P5"))
        for key, figure in (("flows_per_second", "flows/s"), ("cpu_ms_per_flow", "CPU"))
    ),
)
KINDS = ("web", "drains", "cluster", "postgres", "supervisor", "keeper", "other", "step_server", "client")
PEER_COLUMNS = (
    ("flows/s", "flows_per_second"),
    ("CPU ms/flow", "cpu_ms_per_flow"),
    ("idle p50 ms", "idle_p50_ms"),
    ("idle p99 ms", "idle_p99_ms"),
    ("late p50 ms", "late_p50_ms"),
    ("late p99 ms", "late_p99_ms"),
    ("PSS MB", "pss_mb"),
    ("made twice", "repeated_calls"),
)


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    least: float
    most: float


Results = dict[str, dict[str, Spread]]


def spread(rounds: list[Found]) -> Results:
    """Value by value, over the rounds that have it."""
    values: dict[str, dict[str, list[float]]] = {}
    for found in rounds:
        for group, named in found.items():
            for name, value in named.items():
                values.setdefault(group, {}).setdefault(name, []).append(value)
    return {
        group: {name: Spread(median(all_), min(all_), max(all_)) for name, all_ in named.items()}
        for group, named in values.items()
    }


def table(results: Results) -> str:
    return "".join(f"{text}\n" for text in _lines(results))


def _lines(results: Results) -> Iterator[str]:
    for group, label in LABELS.items():
        if group in results:
            yield from _workload(results, group, label=label)
    for label, group, name, unit in ROWS:
        if name in results.get(group, {}):
            yield _row(label, results[group][name], unit)
    yield from _by_kind("CPU ms per flow", results, ending=".cpu_ms_per_flow")
    yield from _by_kind("memory, PSS in MB", results, ending=".pss_mb")
    yield from _by_kind("CPU when idle, % of one core", results, ending=".cpu_percent")
    yield from _database(results)
    yield from _peers(results)


def _workload(results: Results, group: str, *, label: str) -> Iterator[str]:
    found = results[group]
    yield _row(label, found["flows_per_second"], "flows/s")
    if TASKS.get(group, 0) > 10:
        yield _row(f"{label}, tasks", found["tasks_per_second"], "tasks/s")
    yield _row(f"{label}, starts accepted", found["starts_per_second"], "starts/s")
    yield _row(f"{label}, CPU of the service", found["cpu_ms_per_flow"], "ms/flow")
    yield _row(f"{label}, WAL", found["wal_bytes_per_flow"], "bytes/flow")
    if found["repeated_calls"].most:
        yield _row(f"{label}, calls made twice", found["repeated_calls"], "")


def _row(label: str, value: Spread, unit: str) -> str:
    return f"{label:<56}{_number(value.median):>12} {unit:<11}{_range(value)}".rstrip()


def _range(value: Spread) -> str:
    return "" if value.least == value.most else f"({_number(value.least)} - {_number(value.most)})"


def _number(value: float) -> str:
    digits = 0 if value == int(value) or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _by_kind(title: str, results: Results, *, ending: str) -> Iterator[str]:
    groups = {group: found for group, found in results.items() if group.endswith(ending)}
    kinds = [kind for kind in KINDS if any(kind in found for found in groups.values())]
    if groups:
        yield ""
        yield f"{title:<30}" + "".join(f"{kind:>12}" for kind in kinds)
    for group, found in groups.items():
        cells = (_number(found[kind].median) if kind in found else "" for kind in kinds)
        yield f"{group.removesuffix(ending):<30}" + "".join(f"{cell:>12}" for cell in cells)


def _database(results: Results) -> Iterator[str]:
    groups = {group: found for group, found in results.items() if group.endswith(".database")}
    names = list(dict.fromkeys(name for found in groups.values() for name in found))
    if groups:
        yield ""
        yield f"{'database, per flow':<30}" + "".join(f"{group.removesuffix('.database'):>12}" for group in groups)
    for name in names:
        cells = (_number(found[name].median) for found in groups.values())
        yield f"{name.replace('_', ' '):<30}" + "".join(f"{cell:>12}" for cell in cells)


def _peers(results: Results) -> Iterator[str]:
    peers = {group: found for group, found in results.items() if group.startswith("peer.")}
    if peers:
        yield ""
        yield f"{'beside peers: W3':<30}" + "".join(f"{title:>15}" for title, _ in PEER_COLUMNS)
    for group, found in peers.items():
        cells = (_number(found[name].median) if name in found else "" for _, name in PEER_COLUMNS)
        yield f"{group.removeprefix('peer.'):<30}" + "".join(f"{cell:>15}" for cell in cells)
    for group, found in results.items():
        if group.startswith("ratios."):
            yield ""
            for name, value in found.items():
                yield _row(f"{group.removeprefix('ratios.')}, times better than {name}", value, "")


def write(results: Results, *, rounds: list[Found], arguments: Arguments) -> Path:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    content = {
        "at": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "arguments": asdict(arguments),
        "medians": {group: {name: value.median for name, value in found.items()} for group, found in results.items()},
        "ranges": {
            group: {name: [value.least, value.most] for name, value in found.items()}
            for group, found in results.items()
        },
        "rounds": rounds,
    }
    path = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return ""
    return done.stdout.strip()
