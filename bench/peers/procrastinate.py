"""Procrastinate on PostgreSQL: two worker processes, and one that takes flows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.children import await_port, child, free_port
from bench.peers.base import INSTALLED, PROGRAMS, Place, Running, install_python, run_installer
from bench.peers.postgres import new_database, postmaster, url

FOLDER = INSTALLED / "procrastinate"
DATABASE = "bench_procrastinate"
UNFINISHED = "SELECT count(*) FROM procrastinate_jobs WHERE status <> 'succeeded'"


@dataclass(frozen=True, slots=True)
class Procrastinate:
    name: str = "procrastinate"
    label: str = "Procrastinate"
    flows: int = 400

    def install(self) -> None:
        install_python(FOLDER, requirements=PROGRAMS / "procrastinate_requirements.txt")

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        program = [FOLDER / "bin/python", PROGRAMS / "procrastinate_service.py"]
        log, port = place.folder / "procrastinate.log", free_port()
        environment = {
            "PORT": str(port),
            "STEPS": f"http://127.0.0.1:{place.step_port}",
            "DATABASE": url(place.stand, DATABASE),
        }
        with new_database(place.stand, DATABASE) as unfinished:
            run_installer([*program, "schema"], cwd=PROGRAMS, environment=environment)
            with (
                child([*program, "worker"], log=log, environment=environment) as first,
                child([*program, "worker"], log=log, environment=environment) as second,
                child([*program, "front"], log=log, environment=environment) as front,
            ):
                await_port(port, process=front, log=log)
                yield Running(
                    ports=[port],
                    start=lambda flow, key: (f"/start/{flow}/{key}", None),
                    run=lambda flow, key: (f"/run/{flow}/{key}", None),
                    unfinished=lambda: unfinished(UNFINISHED),
                    pids=[first.pid, second.pid, front.pid],
                    shared_pids=[postmaster(place.stand)],
                    waits_for_many=False,
                )
