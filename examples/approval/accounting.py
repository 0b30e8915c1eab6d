"""The service that pays, over HTTP: each expense once, whatever comes how often."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Accounting(ThreadingHTTPServer):
    """`paid`: expense to what was paid for it, and what was said about its approval."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paid: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Accounting
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802  # the name that http.server looks for
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        expense = self.headers["X-Dist-Task-Instance"]
        if self.server.paid.setdefault(expense, body) is body:
            print(f"    accounting pays {body['cents'] / 100:,.2f} to {body['who']}")
        content = json.dumps({"paid": body["cents"]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """What is paid is printed."""


@contextmanager
def open_accounting() -> Iterator[Accounting]:
    accounting = Accounting()
    threading.Thread(target=accounting.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield accounting
    finally:
        accounting.shutdown()
        accounting.server_close()
