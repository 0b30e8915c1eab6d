"""Celery on Redis that writes through fsync at each command; tasks are acknowledged when they have ended."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.children import await_port, child, free_port
from bench.peers.base import INSTALLED, PROGRAMS, NotInstalled, Place, Running, install_python, run_installer

FOLDER = INSTALLED / "celery"
REDIS = "redis-server"
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


@dataclass(frozen=True, slots=True)
class Celery:
    name: str = "celery"
    label: str = "Celery, Redis"
    flows: int = 400

    def install(self) -> None:
        install_python(FOLDER, requirements=PROGRAMS / "celery_requirements.txt")
        install_redis()

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        ports = {name: free_port() for name in ("redis", "front")}
        log = place.folder / "celery.log"
        environment = {
            "PORT": str(ports["front"]),
            "STEPS": f"http://127.0.0.1:{place.step_port}",
            "REDIS": f"redis://127.0.0.1:{ports['redis']}",
        }
        worker_command = ["celery", "-A", "celery_tasks", "worker", "-l", "WARNING", "-P", "prefork", "-c", "2", *QUIET]
        with child(redis_command(ports["redis"], folder=place.folder), log=log) as redis:
            await_port(ports["redis"], process=redis, log=log)
            with (
                _program(worker_command, environment, log) as worker,
                _program(["python", "celery_front.py"], environment, log) as front,
            ):
                await_port(ports["front"], process=front, log=log)
                yield Running(
                    ports=[ports["front"]],
                    start=lambda flow, key: (f"/start/{flow}/{key}", None),
                    run=lambda flow, key: (f"/run/{flow}/{key}", None),
                    unfinished=lambda: unacknowledged(ports["redis"]),
                    pids=[redis.pid, worker.pid, front.pid],
                    waits_for_many=False,
                )


def _program(command: list[str], environment: dict[str, str], log: Path):  # type: ignore[no-untyped-def]  # `child`'s
    return child([FOLDER / "bin" / command[0], *command[1:]], log=log, environment=environment, cwd=PROGRAMS)


def install_redis() -> None:
    if shutil.which(REDIS):
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotInstalled(f"{REDIS} is not there, and only root on Debian gets it installed")
    run_installer(["apt-get", "update", "-qq"], cwd=FOLDER)
    run_installer(["apt-get", "install", "-qq", "--no-install-recommends", REDIS], cwd=FOLDER)


def redis_command(port: int, *, folder: Path) -> list[str]:
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    return [REDIS, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *durable]


def unacknowledged(port: int) -> int:
    """Messages that wait, and messages that a worker has not yet acknowledged."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        return _ask(connection, "LLEN celery") + _ask(connection, "HLEN unacked")


def _ask(connection: socket.socket, command: str) -> int:
    """The answer is one short line: a colon and a number."""
    connection.sendall(f"{command}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n"):
        answer += connection.recv(64)
    return int(answer[1:])
