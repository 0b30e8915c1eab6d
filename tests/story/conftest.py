"""One whole service for all the stories, and a client that speaks to it over HTTP."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dist_task.embedded.remove import remove
from tests.engine.service import Service
from tests.house.conftest import processes_of, until
from tests.house.supervisor import Supervisor, free_port


class Client:
    """What a consumer of the API sees: `(http status, envelope)`."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._base + path, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def data(self, method: str, path: str, body: Any = None) -> Any:
        status, envelope = self.call(method, path, body)
        assert (status, envelope["code"], envelope["message"]) == (200, 0, "success"), envelope
        return envelope["data"]

    def flow(self, name: str, *tasks: dict[str, Any]) -> str:
        body = {"name": name, "flow_type": "story", "create_user": "ann", "definition": json.dumps({"tasks": tasks})}
        return str(self.data("POST", "/api/v1/flows", body)["id"])

    def start(self, instance_id: str, flow_id: str, **params: Any) -> dict[str, Any]:
        body = {"instance_id": instance_id, "flow_id": flow_id, "params": params}
        answer: dict[str, Any] = self.data("POST", "/api/v1/transactions", body)
        return answer

    def ended(self, instance_id: str) -> dict[str, Any]:
        """The transaction once it is final."""
        path = f"/api/v1/transactions/{instance_id}?wait=20"
        final = ("success", "failed", "cancelled")
        until(lambda: self.data("GET", path)["status"] in final)
        answer: dict[str, Any] = self.data("GET", path)
        return answer

    def exception_of(self, instance_id: str) -> dict[str, Any]:
        """The one exception of a transaction, in whatever state."""
        listed = self.data("GET", "/api/v1/exceptions?page_size=200")["list"]
        (found,) = [each for each in listed if each["task_id"].startswith(f"{instance_id}_")]
        answer: dict[str, Any] = found
        return answer


@pytest.fixture(scope="module")
def house() -> Iterator[Supervisor]:
    home = Path(tempfile.mkdtemp(prefix="story-"))
    home.chmod(0o711)
    supervisor = Supervisor(home / "var", port=free_port())
    supervisor.until_ready()
    yield supervisor
    supervisor.end()
    until(lambda: not processes_of(home))
    remove(home / "var")
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def client(house: Supervisor) -> Client:
    return Client(house.port)


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


def http_task(task_id: str, service: Service, *depends_on: str, **more: Any) -> dict[str, Any]:
    config = {"url": service.url(f"/{task_id}")}
    return {"id": task_id, "type": "http", "config": config, "depends_on": list(depends_on), **more}
