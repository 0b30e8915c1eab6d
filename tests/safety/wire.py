"""A wire to PostgreSQL that a test can cut at an exact place, or hold still.

It is a unix socket between processes of ours and the test's server, reads the messages of PostgreSQL's protocol as
they pass, and closes a connection when a statement with a certain text comes by for the n-th time: before the server
has seen it, while it is under way, or once the server has answered and the client has not heard it. Or it ends as with
a server that crashes: with a warning, and part of the statement unread, which is an error of the client's socket.
"""

from __future__ import annotations

import io
import shutil
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import pytest

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
READY = b"Z"
TERMINATE = b"X"
_WARNING = b"SWARNING\0VWARNING\0C57P02\0Mterminating connection because of crash of another server process\0\0"
CRASH_WARNING = b"N" + struct.pack("!i", len(_WARNING) + 4) + _WARNING
"""psycopg2 reports a connection that ends so as a plain DatabaseError, and does not take it for closed."""


class Moment(StrEnum):
    BEFORE = "before"
    UNREAD = "unread"
    UNDER_WAY = "under way"
    ANSWERED = "answered"


MOMENTS = [
    Moment.ANSWERED,
    Moment.UNDER_WAY,
    Moment.UNREAD,
    pytest.param(Moment.BEFORE, marks=pytest.mark.matrix),
]
"""Parameters of a test: with the others those that leave it open what the database did, or hide that it is gone."""


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
        self.folder = Path(tempfile.mkdtemp(prefix="wire-", dir="/tmp"))  # a socket's path has to be short
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listener.listen(128)
        self._connections: set[_Connection] = set()
        threading.Thread(target=self._accept, daemon=True).start()

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
        self.break_all()

    def break_all(self) -> None:
        """As when a process of PostgreSQL crashed: clients are warned, and find out at their next statement."""
        for connection in list(self._connections):
            connection.close(last_words=CRASH_WARNING)

    def go_on(self) -> None:
        self._is_refusing = False
        self._flowing.set()

    def close(self) -> None:
        self.go_on()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()
        shutil.rmtree(self.folder)

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

    def close(self, *, last_words: bytes = b"") -> None:
        self._wire.forget(self)
        with suppress(OSError):
            self._client.sendall(last_words)
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _until_closed(self, work: Callable[[], None]) -> None:
        with suppress(OSError, EOFError, ValueError):
            work()
        self.close()

    def _carry_statements(self) -> None:
        source = self._client.makefile("rb", buffering=0)
        self._server.sendall(self._start_up(source))
        while True:
            message = _message(source, but=1)
            self._wire.wait_to_flow()
            moment = self._wire.moment_of(message)
            if moment == Moment.BEFORE:
                return
            if moment == Moment.UNREAD:
                self._client.sendall(CRASH_WARNING)
                self._client.close()
                source.close()  # only now is the socket closed, and not in order: a byte is unread
                return
            self._is_doomed = self._is_doomed or moment == Moment.ANSWERED
            message += _exactly(source, size=_size(message) - len(message))
            self._server.sendall(message)
            if moment == Moment.UNDER_WAY or message[:1] == TERMINATE:
                return

    def _start_up(self, source: io.RawIOBase | BinaryIO) -> bytes:
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


def _message(source: io.RawIOBase | BinaryIO, *, but: int = 0) -> bytes:
    """The last `but` bytes of what it holds stay unread."""
    head = _exactly(source, size=5)
    return head + _exactly(source, size=max(_size(head) - 5 - but, 0))


def _size(message: bytes) -> int:
    """Of the whole message; its type does not count itself in."""
    size: int = struct.unpack("!i", message[1:5])[0]
    return size + 1


def _exactly(source: io.RawIOBase | BinaryIO, *, size: int) -> bytes:
    found = b""
    while len(found) < size:
        if not (more := source.read(size - len(found))):
            raise EOFError
        found += more
    return found
