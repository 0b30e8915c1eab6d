"""The demo's services behind one loopback port: payment by rpc, the others by http."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dist_task.demo.rules import METHODS, PATHS, Answer, Call

HOST = "127.0.0.1"
MOST_BODY_BYTES = 65_536
MOST_REMEMBERED = 10_000
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Memory:
    """What was answered under which Idempotency-Key: a repeated call gets that answer and has no effect."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, key: str) -> Answer | None:
        with self._lock:
            return self._answers.get(key)

    def keep(self, key: str, *, answer: Answer) -> None:
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > MOST_REMEMBERED:
                self._answers.popitem(last=False)


class ShopServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), ShopHandler)
        self.memory = Memory()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no news."""


class ShopHandler(BaseHTTPRequestHandler):
    server: ShopServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:  # noqa: N802  # the name that http.server looks for
        self._send(Answer({"status": "ok"} if self.path == "/health" else {"code": "NOT_FOUND"}))

    def do_POST(self) -> None:  # noqa: N802  # the name that http.server looks for
        body = self._read_object()
        if body is None:
            return self._send(Answer({"code": "BAD_REQUEST", "message": "send a small JSON object"}, status=400))
        rule = METHODS.get(str(body.get("method"))) if self.path == "/rpc" else PATHS.get(self.path)
        if rule is None:
            return self._send(Answer({"code": "NOT_FOUND", "message": "no such path or method"}, status=404))
        params = body.get("params") if self.path == "/rpc" else body
        call = self._call(params if isinstance(params, dict) else {})
        return self._answer(self.server.memory.recall(call.key) or rule(call), key=call.key)

    def _answer(self, answer: Answer, *, key: str) -> None:
        time.sleep(answer.delay_seconds)
        if answer.status == 200 and "error" not in answer.body and key:
            self.server.memory.keep(key, answer=Answer(answer.body))
        if answer.reset:
            return self._break_connection()
        return self._send(answer)

    def _call(self, params: dict[str, Any]) -> Call:
        attempt = self.headers.get("X-Dist-Task-Attempt", "1")
        return Call(
            key=self.headers.get("Idempotency-Key", ""),
            attempt=int(attempt) if attempt.isdecimal() else 1,
            params=params,
        )

    def _read_object(self) -> dict[str, Any] | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            self.close_connection = True
            return None
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return None
        return body if isinstance(body, dict) else None

    def _send(self, answer: Answer) -> None:
        body = json.dumps(answer.body, ensure_ascii=False).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break_connection(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """The execution log has it all."""
