"""A way to a database server on which a test can cut connections at their COMMIT, or hold everything still."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum


class Cut(StrEnum):
    BEFORE = "the server never sees the commit"
    ANSWERED = "the server has committed, and its answer is lost"
    SILENT = "the server has committed, and nothing comes any more"


class Relay:
    """Carries bytes, without TLS. `plan` is what happens to the next COMMIT; it is done once."""

    def __init__(self, upstream: Callable[[], socket.socket]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._doomed: dict[socket.socket, Cut] = {}
        self.plan: Cut | None = None
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def hold(self) -> None:
        self._flowing.clear()

    def go_on(self) -> None:
        self._flowing.set()

    def break_all(self) -> None:
        for pair in self._pairs:
            _close(*pair)

    def close(self) -> None:
        self.go_on()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                self.accepted += 1
                server = self._upstream()
                self._pairs.append((client, server))
                for work in (self._carry_statements, self._carry_answers):
                    threading.Thread(target=self._until_closed, args=(work, client, server), daemon=True).start()

    def _until_closed(
        self, work: Callable[[socket.socket, socket.socket], None], client: socket.socket, server: socket.socket
    ) -> None:
        with suppress(OSError):
            work(client, server)
        _close(client, server)

    def _carry_statements(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(65_536):
            self._flowing.wait()
            if self.plan and data.endswith((b"COMMIT", b"COMMIT\0")) and b"AUTO" not in data:
                self._doomed[server], self.plan = self.plan, None
                if self._doomed[server] == Cut.BEFORE:
                    return
            server.sendall(data)

    def _carry_answers(self, client: socket.socket, server: socket.socket) -> None:
        while data := server.recv(65_536):
            self._flowing.wait()
            if server not in self._doomed:
                client.sendall(data)
            elif self._doomed[server] == Cut.ANSWERED:
                return


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
