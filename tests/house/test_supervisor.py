"""script/server: ready, revived, and gone without a trace."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, environment, processes_of, server_pid, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


class Supervisor:
    """The supervisor as script/server executes it, with what it has said so far."""

    def __init__(self, folder: Path, *arguments: str, port: int) -> None:
        self.folder, self.port = folder, port
        command = [sys.executable, "-m", "dist_task.supervisor", "--data", str(folder), "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=environment(folder),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
        self.process.stdout.close()

    @property
    def ready_lines(self) -> list[str]:
        return [line for line in self.lines if line.startswith("ready ")]

    def until_ready(self) -> None:
        until(lambda: self.ready_lines or self.process.poll() is not None)
        assert self.ready_lines, "\n".join(self.lines)

    def status(self, path: str) -> int:
        """0 when nothing answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def pids(self, *, command: str) -> list[int]:
        found = []
        for pid in processes_of(self.folder):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command.encode() in words:
                found.append(pid)
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=10)
        return status


@pytest.fixture
def supervise(folder: Path) -> Iterator[Callable[..., Supervisor]]:
    started: list[Supervisor] = []

    def start(*arguments: str, port: int = 0) -> Supervisor:
        started.append(Supervisor(folder, *arguments, port=port or free_port()))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_it_says_ready_once_and_sigterm_leaves_nothing(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise()
    service.until_ready()

    assert service.status("/readyz") == 200
    assert service.end() == 0

    until(lambda: not processes_of(folder), seconds=10)
    assert service.ready_lines == [f"ready http://127.0.0.1:{service.port}"]
    assert any("answers without a token" in line for line in service.lines)
    assert sum(bool(re.match(r"user admin, password \S{12,}", line)) for line in service.lines) == 1


def test_killed_it_leaves_nothing_either(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise()
    service.until_ready()

    service.end(signal.SIGKILL)

    until(lambda: not processes_of(folder), seconds=10)


def test_a_second_signal_ends_it_too(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise()
    service.until_ready()

    service.process.send_signal(signal.SIGINT)
    service.end(signal.SIGINT)

    until(lambda: not processes_of(folder), seconds=10)


def test_whatever_dies_comes_back(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise()
    service.until_ready()
    web, cluster, database = service.pids(command="web"), service.pids(command="cluster"), server_pid(folder)

    for pid in (*web, min(cluster), database):
        os.kill(pid, signal.SIGKILL)

    until(lambda: server_pid(folder) not in (0, database))
    until(lambda: service.pids(command="web") not in ([], web))
    until(lambda: service.pids(command="cluster") and not set(cluster) & set(service.pids(command="cluster")))
    until(lambda: service.status("/readyz") == 200)


def test_a_taken_port_is_one_sentence_and_nothing_starts(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        service = supervise(port=port)
        assert service.process.wait(timeout=60) == 1

    until(lambda: service.lines)
    assert service.lines == [
        f"error: port {port} on 127.0.0.1 is taken: stop what listens there, or choose another with --port."
    ]
    assert not folder.exists()


def test_development_does_not_listen_to_the_network(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise("--host", "0.0.0.0")

    assert service.process.wait(timeout=60) == 1

    until(lambda: service.lines)
    assert "DIST_TASK_PROFILE=production" in service.lines[0]
    assert not folder.exists()
