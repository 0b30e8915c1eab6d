"""What the benchmark asks of a peer: to be installed, to be started, and to take flows over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.children import StandFailed
from bench.stand import Stand

INSTALL_SECONDS = 600.0
PROGRAMS = Path(__file__).resolve().parent / "programs"
INSTALLED = Path(__file__).resolve().parent.parent / ".peers"
"""Git ignores it."""


class NotInstalled(StandFailed):
    """A peer is left out; the message says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs: a folder for its data, the step server, and the service, whose PostgreSQL it may use."""

    folder: Path
    step_port: int
    stand: Stand


@dataclass(frozen=True, slots=True)
class Running:
    """`start` and `run` give path and body of the POST that starts a flow, and that also waits for its end."""

    ports: list[int]
    start: Callable[[str, str], tuple[str, Any]]
    run: Callable[[str, str], tuple[str, Any]]
    unfinished: Callable[[], int]
    pids: list[int]
    shared_pids: Sequence[int] = ()  # of a database that others use too: its CPU is counted, its memory is not
    waits_for_many: bool = True  # False: `run` is for one flow at a time


class Peer(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def flows(self) -> int: ...  # of a throughput run: fewer for a slow peer

    def install(self) -> None: ...  # NotInstalled where it cannot be

    def running(self, place: Place) -> AbstractContextManager[Running]: ...


def run_installer(command: Sequence[str | Path], *, cwd: Path, environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            timeout=INSTALL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason was given"]
        raise NotInstalled(f"{Path(command[0]).name} failed: {said[-1][:300]}")


def install_python(folder: Path, *, requirements: Path) -> None:
    """A virtual environment of the peer's own."""
    wanted = requirements.read_text()
    install_once(folder, wanted=wanted, install=lambda: make_environment(folder, requirements=requirements))


def make_environment(folder: Path, *, requirements: Path) -> None:
    run_installer([sys.executable, "-m", "venv", "--clear", folder], cwd=folder)
    pip: list[str | Path] = [folder / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run_installer([*pip, "install", "-r", requirements], cwd=folder)


def install_once(folder: Path, *, wanted: str, install: Callable[[], None]) -> None:
    """`wanted` is kept beside what was installed, and compared the next time."""
    stamp = folder / ".installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    install()
    stamp.write_text(wanted)
