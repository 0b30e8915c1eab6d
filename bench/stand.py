"""The stand: the step server, and the service as `script/server` starts it, on a data folder of its own."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import uvloop
from psycopg2.extensions import connection as PgConnection  # noqa: N812  # a class with a lower-case name

from bench.children import REPOSITORY, StandFailed, await_line, child, free_port
from bench.client import Client
from bench.processes import Process, tree
from bench.workloads import definitions
from dist_task.embedded.layout import DATABASE, SUPERUSER, Layout

FIRST_START_SECONDS = 300.0
STEP_SECONDS = 30.0
WORKERS = "SELECT DISTINCT pid FROM dist_task_worker WHERE lease_until > clock_timestamp()"


@dataclass(frozen=True, slots=True)
class Stand:
    port: int
    step_port: int
    data: Path
    pid: int
    flow_ids: dict[str, str]
    start_seconds: float  # of the second start: the first one makes the database

    def processes(self) -> list[Process]:
        return tree(self.pid, naming=str(self.data))

    def drains(self) -> set[int]:
        """The ids of the processes that run transactions."""
        return {int(pid) for (pid,) in self.query(WORKERS)}

    def connect(self, database: str = DATABASE) -> PgConnection:
        """Beside the users of the embedded server, so that measuring does not keep it alive."""
        found = psycopg2.connect(**self.database_parameters(database))
        found.autocommit = True
        return found

    def database_parameters(self, database: str) -> dict[str, Any]:
        layout = Layout(self.data)
        state = layout.state()
        if state is None:
            raise StandFailed(f"no embedded database runs in {self.data}")
        return {
            "host": state.socket_folder,
            "user": SUPERUSER,
            "password": layout.password(),
            "dbname": database,
        }

    def query(self, sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())


@contextmanager
def bench_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dist_task-bench-") as folder:
        Path(folder).chmod(0o711)  # the database's own user has to pass through
        yield Path(folder)


@contextmanager
def step_server(folder: Path) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.step_server"]
    with child(command, log=folder / "steps.log", piped=True) as process:
        line = await_line(process, containing="listening", seconds=STEP_SECONDS)
        yield int(line.split()[-1])


@contextmanager
def stand(folder: Path, *, step_port: int, checkout: Path = REPOSITORY) -> Iterator[Stand]:
    """The service, started for the second time: what a first start does once is not measured."""
    folder.mkdir(mode=0o711)
    data, port = folder / "var", free_port()
    with running_server(checkout, data=data, port=port):
        pass
    began = time.monotonic()
    with running_server(checkout, data=data, port=port) as pid:
        seconds = time.monotonic() - began
        flow_ids = uvloop.run(create_flows(port, flows=definitions(step_port=step_port)))
        yield Stand(port, step_port, data, pid, flow_ids, seconds)


@contextmanager
def running_server(checkout: Path, *, data: Path, port: int) -> Iterator[int]:
    command: list[str | Path] = [checkout / "script" / "server", "--port", str(port), "--data", data]
    with child(
        command, log=data.parent / "server.log", environment=_plain_environment(), cwd=checkout, piped=True
    ) as process:
        await_line(process, containing="ready http", seconds=FIRST_START_SECONDS)
        yield process.pid


def _plain_environment() -> dict[str, str]:
    """Output as it comes; `script/bench` has removed what would change the service."""
    return {"PYTHONUNBUFFERED": "1", "PATH": os.environ["PATH"]}


async def create_flows(port: int, *, flows: dict[str, dict[str, Any]]) -> dict[str, str]:
    with closing(Client(port=port)) as client:
        answers = {name: await client.call("POST", "/api/v1/flows", body=flow) for name, flow in flows.items()}
    return {name: answer["data"]["id"] for name, answer in answers.items()}
