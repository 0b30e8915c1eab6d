"""A tap on the TCP connections to a broker: it counts what goes by, and can keep an answer from arriving."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum


class Fate(StrEnum):
    """What becomes of the connection over which the marked bytes went, once the broker has answered them."""

    CUT = "cut"
    HELD = "held"


class Tap:
    """`seen` counts the marked bytes that went to the broker, `connections` those that were made."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._marker, self._fate = b"", None
        self.seen = self.connections = 0
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def watch(self, marker: bytes, *, fate: Fate | None = None) -> None:
        """From now on; a fate befalls every connection over which the marker goes."""
        self._marker, self._fate = marker, fate
        self.seen = 0

    def forgive(self) -> None:
        self._fate = None

    def cut_all(self) -> None:
        for end in self._ends:
            _close(end)
        self._ends.clear()

    def close(self) -> None:
        _close(self._listener)
        self.cut_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
                self.connections += 1
                self._ends += [client, server]
                doomed = threading.Event()
                threading.Thread(target=self._carry_requests, args=(client, server, doomed), daemon=True).start()
                threading.Thread(target=self._carry_answers, args=(client, server, doomed), daemon=True).start()

    def _carry_requests(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if self._marker and self._marker in data:
                    self.seen += 1
                    if self._fate:
                        doomed.set()
                server.sendall(data)
        _close(server)

    def _carry_answers(self, client: socket.socket, server: socket.socket, doomed: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                if not doomed.is_set():
                    client.sendall(data)
                elif self._fate == Fate.CUT:
                    break
        _close(client)


@contextmanager
def tapped(upstream: int) -> Iterator[Tap]:
    tap = Tap(upstream)
    try:
        yield tap
    finally:
        tap.close()


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
