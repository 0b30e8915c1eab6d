"""A wire to PostgreSQL that a test can cut at an exact place, or hold still.

It stands on loopback between processes of ours and the test's server, reads the messages of PostgreSQL's protocol as
they pass, and closes a connection when a statement with a certain text comes by for the n-th time: before the server
has seen it, while it is under way, or once the server has answered and the client has not heard it.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
READY = b"Z"
TERMINATE = b"X"


class Moment(StrEnum):
    BEFORE = "before"
    UNDER_WAY = "under way"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Cut:
    """The hits of a statement whose connection is cut; they are counted over all connections, from 1."""

    text: bytes
    moment: Moment
    hits: Collection[int]


class Wire:
    """`upstream` makes a connection to the server. `cuts` counts by text what was really cut."""

    def __init__(self, upstream: Callable[[], socket.socket]) -> None:
        self._upstream = upstream
        self._plan: list[Cut] = []
        self._counting = threading.Lock()
        self.seen: Counter[bytes] = Counter()
        self.cuts: Counter[bytes] = Counter()
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_refusing = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._connections: set[_Connection] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def plan(self, *cuts: Cut) -> None:
        """From now on; counts begin anew."""
        with self._counting:
            self._plan = list(cuts)
            self.seen.clear()
            self.cuts.clear()

    def hold(self) -> None:
        """Nothing passes any more, and nobody is told: as if the server stood still."""
        self._flowing.clear()

    def refuse(self) -> None:
        """All connections break, and new ones are refused."""
        self._is_refusing = True
        for connection in list(self._connections):
            connection.close()

    def go_on(self) -> None:
        self._is_refusing = False
        self._flowing.set()

    def close(self) -> None:
        self.go_on()
        self._listener.close()
        for connection in list(self._connections):
            connection.close()

    def moment_of(self, message: bytes) -> Moment | None:
        """When the connection that carries this statement is to be cut; it counts as a hit."""
        with self._counting:
            for cut in self._plan:
                if cut.text in message:
                    self.seen[cut.text] += 1
                    if self.seen[cut.text] in cut.hits:
                        self.cuts[cut.text] += 1
                        return cut.moment
        return None

    def wait_to_flow(self) -> None:
        self._flowing.wait()

    def forget(self, connection: _Connection) -> None:
        self._connections.discard(connection)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_refusing:
                    client.close()
                    continue
                try:
                    server = self._upstream()
                except OSError:
                    client.close()
                    continue
                connection = _Connection(self, client=client, server=server)
                self._connections.add(connection)
                connection.begin()


class _Connection:
    def __init__(self, wire: Wire, *, client: socket.socket, server: socket.socket) -> None:
        self._wire, self._client, self._server = wire, client, server
        self._is_doomed = False

    def begin(self) -> None:
        for work in (self._carry_statements, self._carry_answers):
            threading.Thread(target=self._until_closed, args=(work,), daemon=True).start()

    def close(self) -> None:
        self._wire.forget(self)
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _until_closed(self, work: Callable[[], None]) -> None:
        with suppress(OSError, EOFError, ValueError):
            work()
        self.close()

    def _carry_statements(self) -> None:
        source = self._client.makefile("rb")
        self._server.sendall(self._start_up(source))
        while True:
            message = _message(source)
            self._wire.wait_to_flow()
            moment = self._wire.moment_of(message)
            if moment == Moment.BEFORE:
                return
            self._is_doomed = self._is_doomed or moment == Moment.ANSWERED
            self._server.sendall(message)
            if moment == Moment.UNDER_WAY or message[:1] == TERMINATE:
                return

    def _start_up(self, source: BinaryIO) -> bytes:
        """The first message, which has no type. Encryption is declined."""
        while True:
            head = _exactly(source, size=8)
            size, code = struct.unpack("!ii", head)
            if code not in (SSL_REQUEST, GSS_REQUEST):
                return head + _exactly(source, size=size - 8)
            self._client.sendall(b"N")

    def _carry_answers(self) -> None:
        source = self._server.makefile("rb")
        while True:
            message = _message(source)
            self._wire.wait_to_flow()
            if not self._is_doomed:
                self._client.sendall(message)
            elif message[:1] == READY:  # all that the statement did is done and committed
                return


def _message(source: BinaryIO) -> bytes:
    head = _exactly(source, size=5)
    return head + _exactly(source, size=struct.unpack("!i", head[1:])[0] - 4)


def _exactly(source: BinaryIO, *, size: int) -> bytes:
    found = source.read(size)
    if len(found) < size:
        raise EOFError
    return found
