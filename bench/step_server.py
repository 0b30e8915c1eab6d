"""The service that the measured flows call: answers at once, and notes what it saw.

A bare protocol on uvloop, so that the measurement is not of this. A step is known by its Idempotency-Key.
`POST /step` answers 200. `POST /slow` does so after 50 ms. `POST /retry` answers 503 to the first attempt and 200
to the second. `GET /counts`, `/lateness` and `/calls` say what was seen; `POST /reset` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time

import uvloop

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n" + b'{"ok":true}'
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
RETRY_SECONDS = 1.0
SLOW_SECONDS = 0.05
KEY, SIZE, INSTANCE = b"\r\nidempotency-key:", b"\r\ncontent-length:", b"\r\nx-dist-task-instance:"
SPELLINGS = {name: (name.title(), name) for name in (KEY, SIZE, INSTANCE)}


class Seen:
    """What was called since the last reset."""

    def __init__(self) -> None:
        self.calls = 0
        self.keys: set[bytes] = set()
        self.failed_at: dict[bytes, float] = {}
        self.late_seconds: list[float] = []
        self.slow: list[list[object]] = []

    def counts(self) -> bytes:
        found = {"calls": self.calls, "distinct": len(self.keys), "cpu_seconds": time.process_time()}
        return answer(found)

    def lateness(self) -> bytes:
        return answer({"late_seconds": self.late_seconds})

    def slow_calls(self) -> bytes:
        """[key, instance, came at, answered at or null], on the monotonic clock that all processes here share."""
        return answer({"calls": self.slow, "now": time.monotonic()})


class Steps(asyncio.Protocol):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            size = end + 4 + int(header(head, SIZE) or 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            self.write(self.respond(head))

    def write(self, content: bytes) -> None:
        if content:
            self.transport.write(content)  # type: ignore[attr-defined]  # a TCP transport

    def respond(self, head: bytes) -> bytes:
        """Empty: the answer comes later."""
        path = head.split(b" ", 2)[1]
        if path == b"/step":
            self.note(head)
            return OK
        if path == b"/slow":
            return self.respond_slowly(head)
        if path == b"/retry":
            return self.respond_to_retry(head)
        if path == b"/reset":
            self.seen.__init__()  # type: ignore[misc]  # as new
            return OK
        if path == b"/lateness":
            return self.seen.lateness()
        return self.seen.slow_calls() if path == b"/calls" else self.seen.counts()

    def note(self, head: bytes) -> bytes:
        key = header(head, KEY)
        self.seen.calls += 1
        self.seen.keys.add(key)
        return key

    def respond_slowly(self, head: bytes) -> bytes:
        instance = header(head, INSTANCE).decode()
        call: list[object] = [self.note(head).decode(), instance, time.monotonic(), None]
        self.seen.slow.append(call)
        asyncio.get_running_loop().call_later(SLOW_SECONDS, self.end_slow, call)
        return b""

    def end_slow(self, call: list[object]) -> None:
        """A caller that has died meanwhile leaves its call without an answer."""
        if not self.transport.is_closing():
            call[3] = time.monotonic()
            self.write(OK)

    def respond_to_retry(self, head: bytes) -> bytes:
        key, now = header(head, KEY), time.monotonic()
        failed_at = self.seen.failed_at.get(key)
        if failed_at is None:
            self.seen.failed_at[key] = now
            return UNAVAILABLE
        self.seen.late_seconds.append(now - failed_at - RETRY_SECONDS)
        return OK


def header(head: bytes, name: bytes) -> bytes:
    """The value of a header of SPELLINGS; empty where it is missing. Usual spellings cost one search each."""
    start = next((found for spelling in SPELLINGS[name] if (found := head.find(spelling)) >= 0), -1)
    if start < 0 and (start := head.lower().find(name)) < 0:
        return b""
    start += len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


def answer(data: object) -> bytes:
    body = json.dumps(data).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def serve(port: int) -> None:
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: Steps(seen), "127.0.0.1", port, backlog=1024)
    sys.stdout.write(f"listening {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(serve(parser.parse_args().port))
