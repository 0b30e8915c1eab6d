"""The stand: the step server, and the service as `script/server` starts it, on a data folder of its own."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as PgConnection  # noqa: N812  # a class with a lower-case name

from dist_task.embedded.layout import DATABASE, SUPERUSER, Layout

REPOSITORY = Path(__file__).resolve().parent.parent
FIRST_START_SECONDS = 300.0
STOP_SECONDS = 30.0


class StandFailed(Exception):  # noqa: N818  # ends the benchmark with a sentence
    """The service or the step server did not start."""


@dataclass(frozen=True, slots=True)
class Stand:
    port: int
    step_port: int
    data: Path
    server_pid: int
    start_seconds: float  # of the second start: the first one makes the database


@contextmanager
def stand() -> Iterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="dist_task-bench-") as folder:
        data, port = Path(folder) / "var", free_port()
        Path(folder).chmod(0o711)  # the database's own user has to pass through
        with running_step_server() as step_port:
            with running_server(data=data, port=port):
                pass
            began = time.monotonic()
            with running_server(data=data, port=port) as pid:
                yield Stand(port, step_port, data, pid, time.monotonic() - began)


@contextmanager
def running_step_server() -> Iterator[int]:
    command = [sys.executable, "-m", "bench.step_server"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ours
    try:
        line = await_line(process, containing="listening", seconds=30)
        yield int(line.split()[-1])
    finally:
        stop(process)


@contextmanager
def running_server(*, data: Path, port: int) -> Iterator[int]:
    command = [str(REPOSITORY / "script" / "server"), "--port", str(port), "--data", str(data)]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    log = (data.parent / "server.log").open("a")
    with closing(log):
        process = subprocess.Popen(  # noqa: S603  # our own script
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        try:
            await_line(process, containing="ready http", seconds=FIRST_START_SECONDS)
            yield process.pid
        finally:
            stop(process)


def await_line(process: subprocess.Popen[str], *, containing: str, seconds: float) -> str:
    assert process.stdout is not None  # noqa: S101  # a pipe was asked for
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


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connect(data: Path) -> PgConnection:
    """Beside the users of the embedded server, so that measuring does not keep it alive."""
    layout = Layout(data)
    state = layout.state()
    if state is None:
        raise StandFailed(f"no embedded database runs in {data}")
    found = psycopg2.connect(host=state.socket_folder, user=SUPERUSER, password=layout.password(), dbname=DATABASE)
    found.autocommit = True
    return found
