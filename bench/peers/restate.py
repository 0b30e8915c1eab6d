"""Restate: its server from npm, and the flows on its Python or its TypeScript SDK. It writes through fsync."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import StandFailed, await_port, await_ready, child, free_port
from bench.peers.base import (
    INSTALLED,
    PROGRAMS,
    NotInstalled,
    Place,
    Running,
    install_once,
    make_environment,
    run_installer,
)

FOLDER = INSTALLED / "restate"
REQUIREMENTS = PROGRAMS / "restate_requirements.txt"
PACKAGES = ("@restatedev/restate-server@1.7.12", "@restatedev/restate-sdk@1.17.2")
CONFIGURATION = """
disable-telemetry = true
bind-ip = "127.0.0.1"
listen-mode = "tcp"
advertised-host = "127.0.0.1"
bind-port = {node}
log-filter = "warn"
[admin]
bind-port = {admin}
disable-web-ui = true
[ingress]
bind-port = {ingress}
"""
"""All else as it comes: its log is written through fsync."""


@dataclass(frozen=True, slots=True)
class Restate:
    sdk: str  # python or typescript
    flows: int = 1_000

    @property
    def name(self) -> str:
        return "restate" if self.sdk == "python" else "restate-typescript"

    @property
    def label(self) -> str:
        return "Restate, Python SDK" if self.sdk == "python" else "Restate, TypeScript SDK"

    def install(self) -> None:
        wanted = REQUIREMENTS.read_text() + "\n".join(PACKAGES)
        install_once(FOLDER, wanted=wanted, install=_install)

    @contextmanager
    def running(self, place: Place) -> Iterator[Running]:
        ports = {name: free_port() for name in ("node", "admin", "ingress", "service")}
        configuration = place.folder / "restate.toml"
        configuration.write_text(CONFIGURATION.format(**ports))
        log = place.folder / "restate.log"
        data = place.folder / "restate-data"
        command: list[str | Path] = [_server(), "-c", configuration, "--base-dir", data]
        steps = f"http://127.0.0.1:{place.step_port}"
        service = _python_service(ports["service"]) if self.sdk == "python" else _node_service()
        environment = {"STEPS": steps, "PORT": str(ports["service"]), "NODE_ENV": "production"}
        environment["RESTATE_LOGGING"] = "WARN"
        with child(command, log=log) as server:
            await_ready(lambda: _is_healthy(ports["admin"]), process=server, log=log)
            with child(service, log=log, environment=environment, cwd=PROGRAMS) as worker:
                await_port(ports["service"], process=worker, log=log)
                await_ready(lambda: _is_registered(ports), process=server, log=log)
                yield Running(
                    ports=[ports["ingress"]],
                    start=lambda flow, key: (f"/Bench/{flow}/send", key),
                    run=lambda flow, key: (f"/Bench/{flow}", key),
                    unfinished=lambda: _unfinished(ports["admin"]),
                    pids=[server.pid, worker.pid],
                )
        shutil.rmtree(data, ignore_errors=True)


def _install() -> None:
    if shutil.which("npm") is None:
        raise NotInstalled("npm is not there")
    make_environment(FOLDER, requirements=REQUIREMENTS)
    run_installer(["npm", "install", "--no-audit", "--no-fund", "--prefix", FOLDER, *PACKAGES], cwd=FOLDER)


def _server() -> Path:
    found = next((FOLDER / "node_modules/@restatedev").glob("restate-server-*/bin/restate-server"), None)
    if found is None:
        raise StandFailed("npm brought no restate-server for this platform")
    return found


def _python_service(port: int) -> list[str | Path]:
    options = ["--interface", "asgi", "--http", "auto", "--loop", "uvloop", "--workers", "1", "--no-access-log"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return [FOLDER / "bin/granian", *options, *address, "restate_service:app"]


def _node_service() -> list[str | Path]:
    """Node looks for packages above the program's own folder, so a copy lies beside them."""
    return ["node", Path(shutil.copy(PROGRAMS / "restate_service.mjs", FOLDER))]


def _is_healthy(admin: int) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{admin}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def _is_registered(ports: dict[str, int]) -> bool:
    """The server asks the service what it can do; a service that listens may not be able to say it yet."""
    with suppress(OSError):
        _ask(ports["admin"], "/deployments", {"uri": f"http://127.0.0.1:{ports['service']}"})
        return True
    return False


def _unfinished(admin: int) -> int:
    query = "SELECT count(*) AS n FROM sys_invocation WHERE status <> 'completed'"
    return int(_ask(admin, "/query", {"query": query})["rows"][0]["n"])


def _ask(admin: int, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{admin}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
