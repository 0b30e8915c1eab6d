"""Medians, one table for people, one JSON file for comparing."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
Round = dict[str, dict[str, float]]
ROWS = (
    ("W3 three HTTP tasks, started one by one", "W3", "flows_per_second", "flows/s"),
    ("W3 three HTTP tasks, started in batches", "W3batch", "flows_per_second", "flows/s"),
    ("W0 three noop tasks", "W0", "flows_per_second", "flows/s"),
    ("P5 fan out and in, five HTTP tasks", "P5", "flows_per_second", "flows/s"),
    ("starts accepted, one by one (W3)", "W3", "starts_per_second", "starts/s"),
    ("idle W3, POST to success seen, p50", "idle", "seen_p50_ms", "ms"),
    ("idle W3, POST to success seen, p99", "idle", "seen_p99_ms", "ms"),
    ("idle W3, created to completed, p50", "idle", "row_p50_ms", "ms"),
    ("idle W3, created to completed, p99", "idle", "row_p99_ms", "ms"),
    ("retry due in 1 s comes late by, p50", "late", "late_p50_ms", "ms"),
    ("retry due in 1 s comes late by, p99", "late", "late_p99_ms", "ms"),
    ("calls that were repeated", "calls", "repeated", ""),
    ("one durable write of this disk, p50", "disk", "write_p50_ms", "ms"),
    ("second start to ready", "start", "second_seconds", "s"),
    ("processes when idle", "memory", "processes", ""),
    ("memory when idle, PSS", "memory", "pss_mb", "MB"),
    ("memory when idle, RSS", "memory", "rss_mb", "MB"),
    ("memory when idle without PostgreSQL, PSS", "memory", "pss_without_postgres_mb", "MB"),
    ("memory when idle without PostgreSQL, RSS", "memory", "rss_without_postgres_mb", "MB"),
)


def medians(rounds: list[Round]) -> Round:
    first = rounds[0]
    return {
        group: {name: median(each[group][name] for each in rounds) for name in values}
        for group, values in first.items()
    }


def table(results: Round) -> str:
    lines = [(label, f"{results[group][name]:,.1f}", unit) for label, group, name, unit in ROWS]
    width, number = max(len(line[0]) for line in lines), max(len(line[1]) for line in lines)
    return "".join(f"{label:<{width}}  {value:>{number}} {unit}".rstrip() + "\n" for label, value, unit in lines)


def write(results: Round, *, rounds: list[Round], arguments: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    content = {
        "at": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "arguments": arguments,
        "medians": results,
        "rounds": rounds,
    }
    path = RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:  # no git here
        return ""
    return done.stdout.strip()
