"""One connection to a service: HTTP/1.1, one request at a time, its answer read by httptools (llhttp).

A client of our own, since the usual ones cost more than all else that a worker does for a call. What it promises:
nothing is sent twice, nothing is read without a limit, and a connection on which anything unexpected came is not used
again.
"""

from __future__ import annotations

import asyncio
import select
from typing import NamedTuple, cast

import httptools

from dist_task.conf import conf
from dist_task.errors import ExecutionError

from . import failures
from .encoding import decoded

MOST_HEAD_BYTES = 65_536
"""Of header lines, and of what comes without any body in it: a head without an end, extensions, trailers."""
MOST_HEADERS = 256
_NO_BODY = frozenset({204, 304})
SWITCHING_PROTOCOLS = 101


class Answer(NamedTuple):
    """What came back. The names of `headers` are in lower case; of several lines the first counts.

    `is_cut`: the body was larger than MAX_RESPONSE_BYTES, and is not here.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    is_cut: bool = False

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.strip().decode(errors="surrogateescape")


class Connection(asyncio.Protocol):
    """The protocol of a transport, and the callbacks of a parser; `exchange` is what a caller needs."""

    def __init__(self, *, opened: set[Connection]) -> None:
        self.idle_since = 0.0
        self._opened = opened
        self._lines: dict[bytes, bytes] = {}
        self.on_header = self._lines.setdefault  # called by the parser for each line; nothing of Python's is faster
        self._parser = httptools.HttpResponseParser(self)
        self._waiting: asyncio.Future[None] | None = None
        self._is_spoilt = False

    # For the caller.

    async def exchange(self, request: bytes, *, loop: asyncio.AbstractEventLoop, ends_at: float) -> Answer:
        """Sends the request and reads its answer; TimeoutError at `ends_at` on the loop's clock.

        A failure does not say whether the work was done; it closes the connection, as does a caller who gives up.
        """
        self._begin()
        waiting = self._waiting = loop.create_future()
        deadline = loop.call_later(ends_at - loop.time(), self._fail, TimeoutError())
        try:
            self._transport.write(request)
            await waiting
            return Answer(self._status, self._headers, self._body())
        except failures.TooLarge:
            self.drop()
            return Answer(self._status, self._headers, b"", is_cut=True)
        except BaseException:
            self.drop()
            raise
        finally:
            self._waiting = None
            deadline.cancel()

    @property
    def is_open(self) -> bool:
        return not (self._is_spoilt or self._transport.is_closing())

    @property
    def is_quiet(self) -> bool:
        """Open, and nothing came unasked: no bytes, and no end that the loop has not seen yet."""
        return not (self._is_spoilt or self._transport.is_closing() or self._poll.poll(0))

    @property
    def is_clean(self) -> bool:
        """Open, and all was sent: fit for another request."""
        return not (self._is_spoilt or self._transport.is_closing() or self._transport.get_write_buffer_size())

    def drop(self) -> None:
        self._is_spoilt = True
        self._transport.abort()

    def _begin(self) -> None:
        self._status = 0
        self._lines.clear()
        self._chunks: list[bytes] = []
        self._size = 0
        self._fruitless_bytes = 0
        self._most = conf.MAX_RESPONSE_BYTES
        self._is_complete = self._ends_with_connection = False

    def _body(self) -> bytes:
        raw = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        coding = self._headers.get(b"content-encoding")
        return decoded(raw, coding=coding, limit=self._most) if coding and raw else raw

    # For the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._is_complete:
            self.drop()
            return
        before = self._size
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._is_spoilt = True
            if not self._is_complete:
                self._fail(_cause(error))
                return
        if self._is_complete:
            self._finish()
        elif self._size == before:
            self._fruitless_bytes += len(data)
            if self._fruitless_bytes > MOST_HEAD_BYTES:
                self._fail(failures.unreadable(f"more than {MOST_HEAD_BYTES} bytes that are not its body"))

    def eof_received(self) -> None:
        """No more will come: that completes an answer without a length, and cuts every other."""
        self._is_spoilt = True
        self._on_end("the service closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self._is_spoilt = True
        self._opened.discard(self)
        if error is not None:
            self._ends_with_connection = False
        self._on_end(error or "the connection was closed")

    def _on_end(self, reason: object) -> None:
        if self._ends_with_connection:
            self._finish()
        else:
            self._fail(failures.lost(reason))

    def _finish(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    # For the parser. What these raise comes out of `feed_data` as the context of an HttpParserError.

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise failures.unreadable("more came after its end")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status == SWITCHING_PROTOCOLS:
            raise failures.unreadable("it switches to another protocol")
        if len(self._lines) > MOST_HEADERS or sum(map(len, self._lines.values())) > MOST_HEAD_BYTES:
            raise failures.unreadable("it has too many headers")
        self._headers = {name.lower(): value for name, value in reversed(self._lines.items())}
        if self._status < 200 or self._status in _NO_BODY:
            return
        length, transfer = self._headers.get(b"content-length"), self._headers.get(b"transfer-encoding")
        if transfer is not None and transfer.strip().lower() != b"chunked":
            raise failures.unreadable("an unknown transfer encoding")
        if length is not None and int(length) > self._most:
            raise failures.too_large(self._most)
        self._ends_with_connection = transfer is None and length is None

    def on_body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._most:
            raise failures.too_large(self._most)
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        if self._status < 200:  # informational: the answer is still to come
            self._lines.clear()
            return
        self._is_complete = True
        self._is_spoilt |= not self._parser.should_keep_alive()


def _cause(error: httptools.HttpParserError) -> ExecutionError:
    raised = error.__context__
    return raised if isinstance(raised, ExecutionError) else failures.unreadable(error)
