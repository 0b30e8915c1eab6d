"""Memory of a tree of processes, from /proc: PSS counts shared pages once, RSS in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    parent: int
    name: str
    command: str


def processes() -> dict[int, Process]:
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal() and (process := _read(folder)):
            found[process.pid] = process
    return found


def _read(folder: Path) -> Process | None:
    try:
        name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return None
    return Process(int(folder.name), int(rest.split()[1]), name, command)


def tree(*, root: int, data: Path) -> list[Process]:
    """The root, whoever names the data folder, and all that they started."""
    known = processes()
    members = {root} | {process.pid for process in known.values() if str(data) in process.command}
    members -= {pid for pid in members if pid not in known}
    while more := {p.pid for p in known.values() if p.parent in members} - members:
        members |= more
    return [known[pid] for pid in sorted(members)]


def memory(*, root: int, data: Path) -> dict[str, float]:
    """In MB of 1,000,000 bytes."""
    totals = {
        "processes": 0.0,
        "pss_mb": 0.0,
        "rss_mb": 0.0,
        "pss_without_postgres_mb": 0.0,
        "rss_without_postgres_mb": 0.0,
    }
    for process in tree(root=root, data=data):
        sizes = _sizes(process.pid)
        totals["processes"] += 1
        for kind, megabytes in sizes.items():
            totals[f"{kind}_mb"] += megabytes
            if process.name != "postgres":
                totals[f"{kind}_without_postgres_mb"] += megabytes
    return totals


def _sizes(pid: int) -> dict[str, float]:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended, or belongs to somebody else
        return {}
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:] if line.endswith("kB")}
    return {"pss": kilobytes["Pss"] * 1.024e-3, "rss": kilobytes["Rss"] * 1.024e-3}
