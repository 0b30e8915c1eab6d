"""Named connections: where tasks go, under a name that a flow's author writes and somebody else has set up.

A connection says what a flow must not: a host, credentials, which tables or paths are allowed. Those of the setting
`CONNECTIONS` are always there; rows of the database are put beside them by whoever can read the database. No models
here: in a worker `find` reads memory and never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dist_task.conf import conf
from dist_task.errors import ExecutionError


@dataclass(frozen=True, slots=True)
class Connection:
    """`kind` is that of the executor that uses it; `config` means what that executor says it means."""

    name: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)


class Connections:
    """Those that this process knows, by name."""

    def __init__(self) -> None:
        self._stored: Mapping[str, Connection] = {}

    def put(self, stored: Iterable[Connection]) -> None:
        """Those of the database, all of them: what was put before is forgotten."""
        self._stored = {connection.name: connection for connection in stored}

    def get(self, name: str, *, kind: str) -> Connection | None:
        """A stored one, else one of the setting `CONNECTIONS` (name to an object with `kind` and what it needs)."""
        found = self._stored.get(name)
        if found is None and (given := conf.CONNECTIONS.get(name)) is not None:
            config = {key: value for key, value in given.items() if key != "kind"}
            found = Connection(name, kind=str(given.get("kind", "")), config=config)
        return found if found is not None and found.kind == kind else None

    def find(self, name: str, *, kind: str) -> Connection:
        """Raises ExecutionError: nothing was called, and a person has to register the connection first."""
        found = self.get(name, kind=kind)
        if found is None:
            raise ExecutionError(f"no {kind} connection named {name!r} is registered", code="NO_CONNECTION")
        return found


CONNECTIONS = Connections()
