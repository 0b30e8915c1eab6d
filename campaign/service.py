"""The service that the flows call, on loopback. It remembers every call; the path says how it behaves.

`/ok` answers 200, `/flaky` refuses the first attempt with 503, `/lost` takes the first attempt and never answers,
`/refuse` answers 400 always, `/slow` works for a while and waits while it is held, `/poison` has an answer that a test
makes the database refuse. `/accept` answers 202, and calls back when its work has ended: it is remembered right before
that.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_SECONDS = 0.15
ACCEPTED = 202
LONGEST_WORK_SECONDS = 0.3
"""What `/accept` goes on with; it may have ended before its 202 is read."""


@dataclass(frozen=True, slots=True)
class Call:
    """`status` is 0 where the service did the work and nobody heard of it."""

    path: str
    key: str
    instance_id: str
    task_id: str
    op: str
    item: int
    attempt: int
    began_at: float
    ended_at: float
    status: int


class StepService:
    def __init__(self, *, call_back: Callable[[str], None] | None = None) -> None:
        """`call_back` is given the address of each callback, in a thread of its own, and sees that it is answered."""
        self.calls: list[Call] = []
        self._call_back = call_back
        self.slow_seconds = SLOW_SECONDS
        self.in_flight = 0
        self._counting = threading.Lock()
        self._open = threading.Event()
        self._open.set()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def hold(self) -> None:
        """Calls of `/slow` wait until `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def work(self, path: str) -> None:
        if path == "/slow":
            self._count(+1)
            time.sleep(self.slow_seconds)
            self._open.wait()
            self._count(-1)

    def go_on(self, call: Call, *, address: str) -> None:
        threading.Thread(target=self._go_on, args=(call, address), daemon=True).start()

    def _go_on(self, call: Call, address: str) -> None:
        time.sleep(random.uniform(0.0, LONGEST_WORK_SECONDS))
        self.calls.append(replace(call, ended_at=time.monotonic()))
        if self._call_back is not None:
            self._call_back(address)

    def _count(self, change: int) -> None:
        with self._counting:
            self.in_flight += change

    def close(self) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed is what this is about."""


class _Handler(BaseHTTPRequestHandler):
    service: StepService
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # noqa: N802  # the base class names it
        began_at = time.monotonic()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        attempt = int(self.headers["X-Dist-Task-Attempt"])
        status = self._status(attempt)
        self.service.work(self.path)
        call = Call(
            self.path,
            key=self.headers["Idempotency-Key"],
            instance_id=self.headers["X-Dist-Task-Instance"],
            task_id=self.headers["X-Dist-Task-Task"],
            op=self.headers["X-Dist-Task-Op"],
            item=int(self.headers.get("X-Dist-Task-Item", -1)),
            attempt=attempt,
            began_at=began_at,
            ended_at=time.monotonic(),
            status=status,
        )
        if status == ACCEPTED:
            self.service.go_on(call, address=self.headers["X-Dist-Task-Callback"])
        else:
            self.service.calls.append(call)
        if status:
            self._answer(status)
        else:
            self.close_connection = True

    def _status(self, attempt: int) -> int:
        always = {"/refuse": 400, "/accept": ACCEPTED}
        first = {"/flaky": 503, "/lost": 0}
        return always.get(self.path) or (first.get(self.path, 200) if attempt == 1 else 200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        body = b'{"poison": true}' if self.path == "/poison" else b"{}"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""
