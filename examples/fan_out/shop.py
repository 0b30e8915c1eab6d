"""The shop, over HTTP: raises the price of an article, once, whatever comes how often, and keeps a ledger of all calls.

A raise adds to the price, so one that was done twice would show. Without a database there is no barrier: the
`Idempotency-Key` is kept together with the work, under one lock.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORK_SECONDS = 0.04


class Failed(Exception):
    """What is answered instead of a success."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(slots=True)
class Ledger:
    """`statuses`: article to what each of its calls was answered, in order. `lists`: what was published.

    `busy_once`: articles whose next call is answered 503. `locked`: those that are refused.
    """

    prices: dict[str, int]
    busy_once: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    lists: list[Any] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)
    """Idempotency-Key to the answer."""

    def answer(self, path: str, *, key: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """The status and the body; notes the call."""
        sku = path.split("/")[2] if path.startswith("/articles/") else ""
        try:
            if key not in self.done:
                self.done[key] = self._raise(sku, body) if sku else self._publish(body)
            status, answer = 200, self.done[key]
        except Failed as error:
            status, answer = error.status, {"code": error.code, "message": str(error)}
        if sku:
            self.statuses.setdefault(sku, []).append(status)
        return status, answer

    def _raise(self, sku: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if sku in self.busy_once:
            self.busy_once.remove(sku)
            raise Failed(503, "BUSY", "the shop is busy")
        if sku in self.locked:
            raise Failed(423, "LOCKED", f"somebody is at work on {sku}")
        self.prices[sku] += body["cents"]
        return {"sku": sku, "cents": self.prices[sku]}

    def _publish(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.lists.append([(each["body"]["sku"], each["body"]["cents"]) for each in body["list"]])
        return {"published": len(body["list"])}


class Shop(ThreadingHTTPServer):
    """`most_at_once`: the most calls that were in flight together. One whose caller has died is in flight no more.

    After as many calls as `stops` says it stands still until `go_on`, so that somebody may be killed meanwhile.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, ledger: Ledger, *, stops: Sequence[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ledger, self.lock = ledger, threading.Lock()
        self.calls = self.most_at_once = 0
        self._stops, self._is_moving = list(stops), threading.Event()
        self._is_moving.set()
        self._callers: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def stands_still(self) -> bool:
        return not self._is_moving.is_set()

    def go_on(self) -> None:
        with self.lock:
            self._stops.pop(0)
            self._is_moving.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # who called may have been killed
            super().handle_error(request, client_address)

    @contextmanager
    def in_flight(self, caller: socket.socket) -> Iterator[None]:
        with self.lock:
            self._callers.add(caller)
            if len(self._callers) > self.most_at_once:
                self._callers = {each for each in self._callers if not is_gone(each)}
            self.most_at_once = max(self.most_at_once, len(self._callers))
            self.calls += 1
            if self._stops and self.calls > self._stops[0]:
                self._is_moving.clear()
        try:
            self._is_moving.wait()
            yield
        finally:
            with self.lock:
                self._callers.discard(caller)


def is_gone(caller: socket.socket) -> bool:
    """The other side has closed: the kernel does so at once for a process that was killed."""
    try:
        return caller.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class Handler(BaseHTTPRequestHandler):
    server: Shop
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:  # noqa: N802  # the name that http.server looks for
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.in_flight(self.connection):
            time.sleep(WORK_SECONDS)
            with self.server.lock:
                key = self.headers["Idempotency-Key"]
                status, answer = self.server.ledger.answer(self.path, key=key, body=body)
        self.send(status, answer)  # no more in flight: the caller may make its next call before this returns

    def send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """The ledger says more."""


@contextmanager
def opened(shop: Shop) -> Iterator[None]:
    threading.Thread(target=shop.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield
    finally:
        shop.shutdown()
        shop.server_close()
