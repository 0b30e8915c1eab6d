"""Processes of this machine by what they are: CPU seconds and memory, from /proc.

PSS counts a shared page once, shared out between those that share it; RSS counts it in each of them.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
KINDS = (
    ("dist_task.supervisor", "supervisor"),
    ("dist_task.embedded.keeper", "keeper"),
    ("manage.py web", "web"),
    ("manage.py cluster", "cluster"),
)


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    name: str
    command: str
    cpu_seconds: float  # with that of its children that have ended and were waited for


@dataclass(frozen=True, slots=True)
class Memory:
    """In MB of 1,000,000 bytes."""

    pss: float
    rss: float


def processes() -> dict[int, Process]:
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (process := read(folder)):
            found[process.pid] = process
    return found


def read(folder: Path) -> Process | None:
    try:
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return None
    fields = rest.split()  # from the third of proc(5) on
    return Process(int(folder.name), int(fields[1]), name, command, sum(map(int, fields[11:15])) / TICKS)


def tree(*roots: int, naming: str = "") -> list[Process]:
    """The roots, whoever names that text in its command, and all that they started."""
    known = processes()
    members = {root for root in roots if root in known}
    members |= {process.pid for process in known.values() if naming and naming in process.command}
    members.discard(os.getpid())
    while more := {p.pid for p in known.values() if p.parent in members} - members:
        members |= more
    return [known[pid] for pid in sorted(members)]


def kind_of(process: Process, *, drains: Collection[int]) -> str:
    """What a process of the service is; `drains` are the ids of the processes that run transactions."""
    if process.name == "postgres":
        return "postgres"
    if process.pid in drains:
        return "drains"
    return next((kind for text, kind in KINDS if text in process.command), "other")


def cpu_by_kind(found: list[Process], *, drains: Collection[int]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for process in found:
        kind = kind_of(process, drains=drains)
        totals[kind] = totals.get(kind, 0.0) + process.cpu_seconds
    return totals


def memory_by_kind(found: list[Process], *, drains: Collection[int]) -> dict[str, Memory]:
    totals: dict[str, Memory] = {}
    for process in found:
        kind, size = kind_of(process, drains=drains), memory_of(process.pid)
        before = totals.get(kind, Memory(0.0, 0.0))
        totals[kind] = Memory(before.pss + size.pss, before.rss + size.rss)
    return totals


def cpu_seconds(found: list[Process]) -> float:
    return sum(process.cpu_seconds for process in found)


def memory_of(pid: int) -> Memory:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or belongs to somebody else
        return Memory(0.0, 0.0)
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:] if line.endswith("kB")}
    return Memory(pss=kilobytes["Pss"] * 1.024e-3, rss=kilobytes["Rss"] * 1.024e-3)
