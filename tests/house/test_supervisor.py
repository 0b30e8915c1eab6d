"""script/server: ready, revived, and gone without a trace."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house.conftest import processes_of, server_pid, until
from tests.house.supervisor import Supervisor, free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.fixture
def supervise(folder: Path) -> Iterator[Callable[..., Supervisor]]:
    started: list[Supervisor] = []

    def start(*arguments: str, port: int = 0, variables: dict[str, str] | None = None) -> Supervisor:
        started.append(Supervisor(folder, *arguments, port=port or free_port(), variables=variables))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end()


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


def test_production_without_a_strong_key_is_one_sentence(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise(variables={"DIST_TASK_PROFILE": "production", "SECRET_KEY": "a" * 60, "ALLOWED_HOSTS": "x"})

    assert service.process.wait(timeout=60) == 1

    until(lambda: service.lines)
    assert service.lines == ["error: the production profile needs a SECRET_KEY of at least 50 random characters."]
    assert not folder.exists()


def test_what_cannot_start_is_not_tried_for_ever(folder: Path, supervise: Callable[..., Supervisor]) -> None:
    service = supervise(variables={"WEB_THREADS": "many"})

    assert service.process.wait(timeout=90) == 1

    until(lambda: "error: web does not start (see above)." in service.lines)
    until(lambda: not processes_of(folder), seconds=10)
