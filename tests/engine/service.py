"""A real HTTP service on loopback whose answers a test sets, and which remembers every call."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """`seconds` of work before it answers; `drop` closes the connection without an answer."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    drop: bool = False
    raw: bytes | None = None


@dataclass(frozen=True)
class Call:
    path: str
    method: str
    headers: dict[str, str]
    body: Any
    began_at: float
    ended_at: float


class Service:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.began: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.in_progress: Counter[str] = Counter()
        self.began_count: Counter[str] = Counter()
        self._counting = threading.Lock()
        self.gates: dict[str, threading.Event] = {}
        handler = type("Handler", (_Handler,), {"service": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.netloc}{path}"

    def answer(self, path: str, *answers: Answer) -> None:
        """The answers to the next calls of `path`; after them it answers 200."""
        self.answers[path].extend(answers)

    def hold(self, path: str) -> threading.Event:
        """Calls of `path` wait until the returned event is set."""
        return self.gates.setdefault(path, threading.Event())

    def calls_of(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]

    def count(self, path: str, *, change: int) -> None:
        with self._counting:
            self.in_progress[path] += change
            self.began_count[path] += max(change, 0)

    def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        began_at = time.monotonic()
        length = int(self.headers.get("Content-Length") or 0)
        text = self.rfile.read(length)
        queued = self.service.answers[self.path]
        answer = queued.popleft() if queued else Answer()
        self.service.began[self.path].set()
        self.service.count(self.path, change=+1)
        if gate := self.service.gates.get(self.path):
            gate.wait(60)
        if answer.seconds:
            time.sleep(answer.seconds)
        self.service.count(self.path, change=-1)
        self.service.calls.append(
            Call(
                self.path,
                method=self.command,
                headers={name.lower(): value for name, value in self.headers.items()},
                body=json.loads(text) if text else None,
                began_at=began_at,
                ended_at=time.monotonic(),
            )
        )
        if answer.drop:
            self.close_connection = True
            return
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        body = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
        try:
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  # the base class names them

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""
