"""Asks /readyz, a little at every turn of the supervisor's loop: a signal never waits for an answer."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass

PATIENCE_SECONDS = 5.0
LONGEST_ANSWER = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: none came. `workers`: how many live workers it counted; None when it could not."""

    status: int
    workers: int | None = None

    @property
    def blames_cluster(self) -> bool:
        """No worker lives though the database does. Work that is late for its amount is nobody's fault."""
        return self.status == 503 and self.workers == 0


class Probe:
    def __init__(self, *, host: str, port: int, host_header: str) -> None:
        self._address = (host, port)
        self._request = f"GET /readyz HTTP/1.0\r\nHost: {host_header}\r\nConnection: close\r\n\r\n".encode()
        self._socket: socket.socket | None = None
        self._received = b""
        self._sent = False
        self._until = 0.0

    def step(self) -> Answer | None:
        """Go on asking; the answer once it is there. Then the next step asks anew."""
        try:
            if self._socket is None:
                self._begin()
            done = self._talk()
        except OSError:
            return self._end(Answer(status=0))
        if done:
            return self._end(read_answer(self._received))
        return self._end(Answer(status=0)) if time.monotonic() > self._until else None

    def _begin(self) -> None:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._received, self._sent, self._until = b"", False, time.monotonic() + PATIENCE_SECONDS
        self._socket.connect_ex(self._address)

    def _talk(self) -> bool:
        assert self._socket is not None  # noqa: S101  # _begin has made it
        try:
            if not self._sent:
                self._socket.send(self._request)
                self._sent = True
            while part := self._socket.recv(LONGEST_ANSWER):
                self._received += part
                if len(self._received) > LONGEST_ANSWER:
                    return True
        except BlockingIOError:
            return False
        return True

    def _end(self, answer: Answer) -> Answer:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        return answer


def read_answer(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        return Answer(status=0)
    return Answer(status=int(words[1]), workers=read_workers(body))


def read_workers(body: bytes) -> int | None:
    try:
        workers = json.loads(body)["data"]["checks"]["workers"]
    except (ValueError, KeyError, TypeError):
        return None
    return workers if isinstance(workers, int) else None
