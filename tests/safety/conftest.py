"""A nursery of real drain processes on the test's database, and the mixed workload."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection

from campaign.judge import judge
from campaign.service import StepService
from campaign.workload import AUTO, Kind, kinds, post
from tests.engine.worker import wait_for
from transactions.models import Transaction

from .wire import Wire

ROOT = Path(__file__).resolve().parent.parent.parent
WIDE_SECONDS = 90.0
counter = itertools.count()


def campaign_environment() -> dict[str, str]:
    """For processes of ours that work on the test's database with the campaign's short leases."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "campaign.settings",
        "CAMPAIGN_DATABASE": connection.settings_dict["NAME"],
        "PYTHONPATH": str(ROOT),
    }


class NurseryClient:
    """Talks to `campaign.nursery` in a process of its own."""

    def __init__(self, *, log: Path, **variables: str) -> None:
        environment = {**campaign_environment(), "DIST_TASK_FAILPOINTS": "", **variables}
        self.log = log
        stderr = log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "campaign.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        stderr.close()

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, self.log.read_text()[-4000:]
        return json.loads(answer)

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@dataclass
class Scene:
    """The mixed workload under one failpoint."""

    nursery: NurseryClient
    service: StepService
    folder: Path
    started: dict[str, Kind] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _raises: bool = False

    @property
    def file(self) -> Path:
        return self.folder / "hits"

    @property
    def hits(self) -> Counter[str]:
        return Counter(self.file.read_text().split()) if self.file.exists() else Counter()

    def run(self, points: str = "", *, drains: int = 2, repeat: int = 1, only: str = "") -> list[str]:
        """Starts everything, waits for the ends, stops; answers what is wrong. Hits are counted in `hits`."""
        self.begin(points, drains=drains, repeat=repeat, only=only)
        self.await_ends()
        self.nursery.ask(do="stop")
        return self.judge()

    def begin(
        self, points: str = "", *, drains: int = 2, repeat: int = 1, only: str = "", wake_after: float = 3.0
    ) -> None:
        """A stopped drain is woken after `wake_after` seconds: by default, two leases."""
        wanted = [kind for kind in kinds(self.service.url) if not only or kind.name in only.split()]
        self.begin_with(dict.fromkeys(wanted, repeat), points=points, drains=drains, wake_after=wake_after)

    def begin_with(
        self, counts: Mapping[Kind, int], *, points: str = "", drains: int = 2, wake_after: float = 3.0
    ) -> None:
        """So many transactions of each kind."""
        self.file.unlink(missing_ok=True)
        self._raises = ":raise" in points
        items = []
        for kind, count in counts.items():
            flow = post(kind)
            for _ in range(count):
                instance_id = f"{kind.name}_{next(counter)}"
                self.started[instance_id] = kind
                items.append((instance_id, flow.pk))
        file = str(self.file)
        self.nursery.ask(do="start", points=points, file=file, drains=drains, items=items, wake_after=wake_after)

    def http(self, task_id: str, path: str = "/ok", *, needs: str = "") -> dict[str, Any]:
        task = {"id": task_id, "type": "http", "config": {"url": self.service.url + path}, "depends_on": needs.split()}
        return {**task, "retry": AUTO}

    def await_ends(self, *, seconds: float = WIDE_SECONDS) -> None:
        try:
            wait_for(lambda: self.ended == len(self.started), seconds=seconds)
        except AssertionError:
            left = Transaction.objects.unfinished().values_list("instance_id", "status", "owner", "wake_at")
            self.problems.append(f"no end: {list(left)}")

    @property
    def ended(self) -> int:
        return Transaction.objects.filter(instance_id__in=self.started, completed_at__isnull=False).count()

    def judge(self) -> list[str]:
        return [*self.problems, *judge(started=self.started, calls=self.service.calls, unstorable=self._raises)]


@pytest.fixture(scope="session")
def nursery(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NurseryClient]:
    with django_db_blocker.unblock():
        client = NurseryClient(log=tmp_path_factory.mktemp("nursery") / "log")
    yield client
    client.close()


@pytest.fixture
def scene(transactional_db: None, nursery: NurseryClient, tmp_path: Path) -> Iterator[Scene]:
    yield from a_scene(nursery, folder=tmp_path)


def a_scene(nursery: NurseryClient, *, folder: Path) -> Iterator[Scene]:
    service = StepService()
    yield Scene(nursery, service=service, folder=folder)
    nursery.ask(do="stop")
    service.close()


@pytest.fixture(scope="session")
def wire(django_db_setup: None) -> Iterator[Wire]:
    """Between processes of ours and the test's server."""
    wire = Wire(connect_to_server)
    yield wire
    wire.close()


def connect_to_server() -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{connection.get_connection_params()['host']}/.s.PGSQL.5432")
    return server


def url_through(wire: Wire) -> str:
    known = connection.get_connection_params()
    return f"postgres://{known['user']}:{quote(known['password'])}@/{known['dbname']}?host={wire.folder}"


@pytest.fixture(scope="session")
def wired_nursery(
    wire: Wire, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NurseryClient]:
    with django_db_blocker.unblock():
        client = NurseryClient(log=tmp_path_factory.mktemp("wired") / "log", DATABASE_URL=url_through(wire))
    yield client
    wire.go_on()
    client.close()


@pytest.fixture
def wired_scene(transactional_db: None, wired_nursery: NurseryClient, wire: Wire, tmp_path: Path) -> Iterator[Scene]:
    """The drains reach the database over the wire only; the test itself does not."""
    yield from a_scene(wired_nursery, folder=tmp_path)
    wire.plan()
