"""The whole service in processes of its own, as script/server runs it."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from tests.house.conftest import ROOT, environment, processes_of, until


class Supervisor:
    """The supervisor as script/server executes it, with what it has said so far."""

    def __init__(self, folder: Path, *arguments: str, port: int, variables: dict[str, str] | None = None) -> None:
        self.folder, self.port = folder, port
        command = [sys.executable, "-m", "dist_task.supervisor", "--data", str(folder), "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**environment(folder), **(variables or {})},
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


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
