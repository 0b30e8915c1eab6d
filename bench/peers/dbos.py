"""DBOS on PostgreSQL: two processes, each of which takes flows and runs them. There is no queue to be polled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.children import await_port, child, free_port
from bench.peers.base import INSTALLED, PROGRAMS, Place, Running, install_python
from bench.peers.postgres import new_database, postmaster, url

FOLDER = INSTALLED / "dbos"
DATABASE = "bench_dbos"
UNFINISHED = "SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS'"


@dataclass(frozen=True, slots=True)
class Dbos:
    name: str = "dbos"
    label: str = "DBOS"
    flows: int = 300

    def install(self) -> None:
        install_python(FOLDER, requirements=PROGRAMS / "dbos_requirements.txt")

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        log, ports = place.folder / "dbos.log", [free_port(), free_port()]
        with (
            new_database(place.stand, DATABASE) as unfinished,
            _process(place, ports[0], log=log) as first,  # one after the other: the first one makes the tables
            _process(place, ports[1], log=log) as second,
        ):
            yield Running(
                ports=ports,
                start=lambda flow, key: (f"/start/{flow}/{key}", None),
                run=lambda flow, key: (f"/run/{flow}/{key}", None),
                unfinished=lambda: unfinished(UNFINISHED),
                pids=[first.pid, second.pid],
                shared_pids=[postmaster(place.stand)],
            )


@contextmanager
def _process(place: Place, port: int, *, log: Path) -> Iterator[subprocess.Popen[str]]:
    """Listens when the block begins."""
    command = [FOLDER / "bin/python", PROGRAMS / "dbos_service.py"]
    with child(command, log=log, environment=_environment(place, port)) as process:
        await_port(port, process=process, log=log)
        yield process


def _environment(place: Place, port: int) -> dict[str, str]:
    return {
        "PORT": str(port),
        "STEPS": f"http://127.0.0.1:{place.step_port}",
        "DATABASE": url(place.stand, DATABASE, scheme="postgresql+psycopg"),
    }
