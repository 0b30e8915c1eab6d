"""Real servers on loopback that keep what reaches them: an HTTP receiver with answers to give, and a mail server."""

from __future__ import annotations

import socketserver
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]
    raw: bytes


class Receiver:
    """Answers 200 and `body` but for the (status, body, headers) in `answers`, which come first; 0 hangs up."""

    def __init__(self, *, body: bytes = b"{}") -> None:
        self.got: list[Got] = []
        self.answers: deque[tuple[int, bytes, dict[str, str]]] = deque()
        self.body = body
        self.gate: threading.Event | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"receiver": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, body, headers))

    def hold(self) -> None:
        """Nothing is answered any more."""
        self.gate = threading.Event()

    def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:  # noqa: N802  # the base class names it
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.got.append(Got(self.path, headers, raw))
        if self.receiver.gate is not None:
            self.receiver.gate.wait(60)
        usual: tuple[int, bytes, dict[str, str]] = (200, self.receiver.body, {})
        status, body, more = self.receiver.answers.popleft() if self.receiver.answers else usual
        if not status:
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class MailServer:
    """As much of SMTP as a client needs. `refuse`: what it answers to a message, once each."""

    def __init__(self) -> None:
        self.got: list[tuple[list[str], str]] = []
        self.refuse: deque[str] = deque()
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.converse(self.rfile, self.wfile)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def converse(self, lines: Any, out: Any) -> None:
        recipients: list[str] = []
        out.write(b"220 ready\r\n")
        while line := lines.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
            if verb == "DATA":
                out.write(b"354 go on\r\n")
                text = b"".join(iter(lines.readline, b".\r\n")).decode()
                if not self.refuse:
                    self.got.append((recipients, text))
            refused = verb == "DATA" and self.refuse
            out.write(
                (self.refuse.popleft() if refused else "221 bye" if verb == "QUIT" else "250 ok").encode() + b"\r\n"
            )
            if verb == "QUIT":
                return

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
