"""The whole service as script/server runs it, a service that its flows call, clients, and a judge."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2

from campaign.clusters import RunningCluster, children
from campaign.service import StepService
from campaign.workload import Kind, flow_name, kinds
from dist_task.embedded.layout import DATABASE, SUPERUSER, Layout
from tests.house.conftest import ROOT, environment, keeper_pid, server_pid, until
from tests.house.supervisor import Supervisor, free_port

LEASE_SECONDS = 2.0
PAUSE_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]
    seconds: float


class Client:
    """A consumer of the API, with a new connection for each request. Every answer has to be an envelope."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: Any = None, *, patience: float = 60.0) -> Answer:
        """Raises OSError where nothing answers, or not in time."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=patience)
        began_at = time.monotonic()
        with closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, path, body=text, headers={"Content-Type": "application/json"} if text else {})
            response = connection.getresponse()
            envelope = json.loads(response.read())
        assert list(envelope) == ["code", "message", "data"]
        assert envelope["code"] == (0 if response.status == 200 else response.status)
        return Answer(response.status, envelope, time.monotonic() - began_at)

    def is_answered(self) -> bool:
        with suppress(OSError):
            return self.ask("GET", "/livez").status == 200
        return False

    def start(self, instance_id: str, *, flow_id: str) -> Answer:
        return self.ask("POST", "/api/v1/transactions", {"instance_id": instance_id, "flow_id": flow_id})

    def start_surely(self, instance_id: str, *, flow_id: str) -> list[int]:
        """Asks again until it is answered with success; the statuses of all answers, 0 where none came."""
        statuses: list[int] = []
        while not statuses or statuses[-1] != 200:
            try:
                statuses.append(self.start(instance_id, flow_id=flow_id).status)
            except (OSError, http.client.HTTPException):
                statuses.append(0)
            assert statuses[-1] in (200, 503, 0), statuses
            time.sleep(0 if statuses[-1] == 200 else 0.1)
        return statuses


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service = StepService()
        self.house = Supervisor(
            folder, port=free_port(), variables={"LEASE_SECONDS": str(LEASE_SECONDS), "LOG_LEVEL": "WARNING"}
        )
        self.house.until_ready()
        self.client = Client(self.house.port)
        self.started: dict[str, Kind] = {}
        self._flows = {kind.name: (kind, self._post(kind)) for kind in kinds(self.service.url)}
        self._numbers = itertools.count()

    def close(self) -> None:
        self.house.end()
        self.service.close()

    # What clients do.

    def start(self, name: str) -> str:
        kind, flow_id = self._flows[name]
        instance_id = f"{name}_{next(self._numbers)}"
        self.client.start_surely(instance_id, flow_id=flow_id)
        self.started[instance_id] = kind
        return instance_id

    def flow_id(self, name: str) -> str:
        return self._flows[name][1]

    def load(self, *names: str) -> Load:
        return Load(self, names=names)

    def _post(self, kind: Kind) -> str:
        definition = {"tasks": kind.tasks, "on_failure": kind.on_failure}
        flow = {"name": flow_name(kind), "flow_type": "t", "definition": definition, "create_user": "me"}
        answer = self.client.ask("POST", "/api/v1/flows", flow)
        assert answer.status == 200, answer
        return answer.body["data"]["id"]

    # What one can see.

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def connect(self) -> Any:
        layout = Layout(folder=self.folder)
        state = layout.state()
        if state is None or state.status != "ready":
            raise psycopg2.OperationalError("the server is starting")
        connection = psycopg2.connect(
            host=state.socket_folder, password=layout.password(), user=SUPERUSER, dbname=DATABASE
        )
        connection.autocommit = True
        return connection

    def status_of(self, instance_id: str) -> str:
        return self.client.ask("GET", f"/api/v1/transactions/{instance_id}").body["data"]["status"]

    def drains(self) -> set[int]:
        """Process ids under a living lease."""
        return {row[0] for row in self.query("SELECT pid FROM dist_task_worker WHERE lease_until > clock_timestamp()")}

    def quiet(self) -> None:
        """All that was started has ended."""

        def is_quiet() -> bool:
            with suppress(psycopg2.OperationalError):  # the database comes back
                return not self.query("SELECT 1 FROM transactions_transaction WHERE completed_at IS NULL LIMIT 1")
            return False

        until(is_quiet)

    def events(self) -> Counter[str]:
        """How often each event is in the log."""
        return Counter(dict(self.query("SELECT event, count(*) FROM dist_task_executionlog GROUP BY event")))

    def exceptions(self) -> Counter[str]:
        """How often each code is among the exceptions."""
        sql = "SELECT error_code, count(*) FROM exceptions_app_exceptionrecord GROUP BY error_code"
        return Counter(dict(self.query(sql)))

    def judge(self) -> list[str]:
        """Everything that is wrong, of all that has happened so far."""
        given = {
            "started": {name: {**asdict(kind), "manual": sorted(kind.manual)} for name, kind in self.started.items()},
            "calls": [asdict(call) for call in self.service.calls],
        }
        found = subprocess.run(
            [sys.executable, "-m", "campaign.verdict"],
            input=json.dumps(given),
            env={**self.variables, "DJANGO_SETTINGS_MODULE": "dist_task.settings"},
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=120,
        )
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)

    def seconds_to_next_call(self, since: float) -> float:
        """From `since` (monotonic) to the beginning of the first call after it; waits for it."""
        until(lambda: any(call.began_at > since for call in self.service.calls))
        return min(call.began_at for call in self.service.calls if call.began_at > since) - since

    # Its processes.

    @property
    def variables(self) -> dict[str, str]:
        """For processes that join the service."""
        ours = {"DIST_TASK_KEEPER": "supervised", "LEASE_SECONDS": str(LEASE_SECONDS), "LOG_LEVEL": "WARNING"}
        return {**environment(self.folder), **ours}

    def second_cluster(self) -> RunningCluster:
        return RunningCluster(log=self.folder.parent / "second.log", points="", environment=self.variables)

    def cluster(self) -> int:
        """The main process of the supervised cluster; 0 while there is none."""
        return next((pid for pid in children(self.house.process.pid) if b"cluster" in words_of(pid)), 0)

    def sentinel(self) -> int:
        """The child of it that has children."""
        (sentinel,) = [pid for pid in children(self.cluster()) if children(pid)]
        return sentinel

    def parts(self) -> Parts:
        """Of a cluster that has just started: its sentinel forks workers, monitor and pusher in this order."""
        family, drains = children(self.sentinel()), self.drains()
        monitor, pusher = sorted(pid for pid in family if pid not in drains)
        return Parts(monitor, pusher, drains=sorted(drains & set(family)))

    def until_cluster_works(self, *, but: int = 0) -> None:
        """A cluster (another than `but`) whose two drains have their leases."""

        def works() -> bool:
            main = self.cluster()
            family = {pid for child in children(main) for pid in children(child)} if main not in (0, but) else set()
            with suppress(psycopg2.OperationalError):  # the database comes back
                return len(self.drains() & family) == 2
            return False

        until(works)

    def postmaster(self) -> int:
        return server_pid(self.folder)

    def keeper(self) -> int:
        return keeper_pid(self.folder)


@dataclass(frozen=True, slots=True)
class Parts:
    monitor: int
    pusher: int
    drains: list[int]


class Load:
    """Three clients that start transactions of these kinds, one after the other, for as long as the block lasts."""

    def __init__(self, stage: Stage, *, names: tuple[str, ...]) -> None:
        self._stage, self._names = stage, itertools.cycle(names)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(3)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a start was never answered"

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            self._stage.start(next(self._names))


def words_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
