"""Named connections: where tasks go, under a name that a flow's author writes and somebody else has set up.

A connection says what a flow must not: a host, credentials, which tables or paths are allowed. Those of the setting
`CONNECTIONS` are always there; rows of the database are put beside them by whoever can read the database. No models
here: in a worker `find` reads memory and never waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from django.core.signals import setting_changed
from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError

from .secrets import SECRETS


@dataclass(frozen=True, slots=True)
class Connection:
    """`kind` is that of the executor that uses it; `config` means what that executor says it means."""

    name: str
    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)
    is_active: bool = True

    def settings(self) -> dict[str, Any]:
        """The configuration with its secrets filled in: for the call, never to be kept. ExecutionError: NO_SECRET."""
        filled: dict[str, Any] = SECRETS.fill(self.config)
        return filled


class Connections:
    """Those that this process knows, by name. `caps`: how many calls each may have at once, where it says so."""

    def __init__(self) -> None:
        self._stored: Mapping[str, Connection] = {}
        self._given: Mapping[str, Connection] | None = None
        self.caps: dict[str, int] = {}

    def put(self, stored: Iterable[Connection]) -> None:
        """Those of the database, all of them: what was put before is forgotten.

        One that has not changed stays the same object, for those who keep what they made of it.
        """
        fresh = {connection.name: connection for connection in stored}
        kept = {name: old for name, old in self._stored.items() if fresh.get(name) == old}
        self._stored = {**fresh, **kept}
        caps = {each.name: cap for each in self if isinstance(cap := each.config.get("cap"), int) and cap > 0}
        for name in self.caps.keys() - caps.keys():
            del self.caps[name]
        self.caps.update(caps)

    def told(self) -> list[dict[str, Any]]:
        """The stored ones, for a process that makes a call in place of this one."""
        return [asdict(connection) for connection in self._stored.values()]

    def __iter__(self) -> Iterator[Connection]:
        return iter({**self._from_settings(), **self._stored}.values())

    def get(self, name: str, *, kind: str) -> Connection | None:
        """A stored one, else one of the setting `CONNECTIONS` (name to an object with `kind` and what it needs)."""
        found = self._stored.get(name) or self._from_settings().get(name)
        return found if found is not None and found.kind == kind else None

    def find(self, name: str, *, kind: str) -> Connection:
        """Raises ExecutionError: nothing was called, and a person has to register the connection, or switch it on."""
        found = self.get(name, kind=kind)
        if found is None:
            message = _("no %(kind)s connection named %(name)s is registered")
            raise ExecutionError(message % {"kind": kind, "name": repr(name)}, code="NO_CONNECTION")
        if not found.is_active:
            message = _("the connection %(name)s is switched off")
            raise ExecutionError(message % {"name": name}, code="CONNECTION_INACTIVE")
        return found

    def forget_settings(self) -> None:
        self._given = None

    def _from_settings(self) -> Mapping[str, Connection]:
        if self._given is None:
            self._given = {name: _given(name, given=given) for name, given in conf.CONNECTIONS.items()}
        return self._given


CONNECTIONS = Connections()


def _given(name: str, *, given: Mapping[str, Any]) -> Connection:
    config = {key: value for key, value in given.items() if key != "kind"}
    return Connection(name, kind=str(given.get("kind", "")), config=config)


def _forget(*, setting: str, **kwargs: object) -> None:
    if setting == "DIST_TASK":
        CONNECTIONS.forget_settings()


setting_changed.connect(_forget)
