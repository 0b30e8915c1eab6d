"""The service that the measured flows call: answers at once, counts its calls, and notes when retries come.

A bare protocol on uvloop, so that the measurement is not of this. `POST /step` answers 200. `POST /retry`
answers 503 to the first attempt and 200 to the second. `GET /counts` and `GET /lateness` say what was seen;
`POST /reset` forgets it.
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


class Seen:
    """What was called since the last reset."""

    def __init__(self) -> None:
        self.calls = 0
        self.keys: set[bytes] = set()
        self.failed_at: dict[bytes, float] = {}
        self.late_seconds: list[float] = []

    def counts(self) -> bytes:
        return answer({"calls": self.calls, "distinct": len(self.keys)})

    def lateness(self) -> bytes:
        return answer({"late_seconds": self.late_seconds})


class Steps(asyncio.Protocol):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            size = end + 4 + int(header(head, b"content-length") or 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            self.transport.write(self.respond(head))  # type: ignore[attr-defined]  # a TCP transport

    def respond(self, head: bytes) -> bytes:
        path = head.split(b" ", 2)[1]
        if path == b"/step":
            self.seen.calls += 1
            self.seen.keys.add(header(head, b"idempotency-key"))
            return OK
        if path == b"/retry":
            return self.respond_to_retry(head)
        if path == b"/reset":
            self.seen.__init__()  # type: ignore[misc]  # as new
            return OK
        return self.seen.lateness() if path == b"/lateness" else self.seen.counts()

    def respond_to_retry(self, head: bytes) -> bytes:
        key, now = header(head, b"idempotency-key"), time.monotonic()
        failed_at = self.seen.failed_at.get(key)
        if failed_at is None:
            self.seen.failed_at[key] = now
            return UNAVAILABLE
        self.seen.late_seconds.append(now - failed_at - RETRY_SECONDS)
        return OK


def header(head: bytes, name: bytes) -> bytes:
    """The value of a header, its name in lower case; empty where it is missing."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else None].strip()


def answer(data: object) -> bytes:
    body = json.dumps(data).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def serve(port: int) -> None:
    seen = Seen()
    server = await asyncio.get_running_loop().create_server(lambda: Steps(seen), "127.0.0.1", port)
    sys.stdout.write(f"listening {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(serve(parser.parse_args().port))
