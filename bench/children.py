"""Child processes of the benchmark: each in a group of its own, all ended on every way out."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30.0
READY_SECONDS = 60.0
PAUSE_SECONDS = 0.02


class StandFailed(Exception):
    """Something that is measured, or is needed to measure it, did not start; the message is for a person."""


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def child(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: dict[str, str] | None = None,
    cwd: Path = REPOSITORY,
    piped: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Runs until the block ends. What it says goes to `log`, its standard output to a pipe where `piped`."""
    with log.open("a") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else file,
            stderr=file,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # so that Ctrl-C reaches the benchmark alone, which then ends each child
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """SIGTERM to the process, and after a while SIGKILL to all of its group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def await_line(process: subprocess.Popen[str], *, containing: str, seconds: float) -> str:
    assert process.stdout is not None  # a pipe was asked for
    deadline, lines = time.monotonic() + seconds, []
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        lines.append(process.stdout.readline())
        if containing in lines[-1]:
            return lines[-1]
        if not lines[-1]:
            break
    raise StandFailed(f"no line with {containing!r} came; the last ones were:\n{''.join(lines[-20:])}")


def await_port(port: int, *, process: subprocess.Popen[str], log: Path) -> None:
    """Until something listens there."""

    def listens() -> bool:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return True
        return False

    await_ready(listens, process=process, log=log)


def await_ready(is_ready: Callable[[], bool], *, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            name = Path(list(process.args)[0]).name  # type: ignore[arg-type]  # `child` gives a list of texts
            how = "ended" if process.poll() is not None else f"was not ready within {READY_SECONDS:g} s"
            said = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise StandFailed(f"{name} {how}; it said:\n{said}")
        time.sleep(PAUSE_SECONDS)
