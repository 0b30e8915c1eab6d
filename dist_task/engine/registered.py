"""What a worker knows of connections and secrets: looked up seldom, found in memory by its calls."""

from __future__ import annotations

from typing import Any

from dist_task.executors.connections import CONNECTIONS, Connection
from dist_task.executors.secrets import SECRETS
from flows.secret_rows import Opened, known, opened

from .store import registered


class Registered:
    def __init__(self) -> None:
        self._mark: str | None = None
        self._secrets = Opened({}, {})

    def refresh(self, cursor: Any) -> None:
        """One query, and a look into the folder of secrets. Changes count for the calls that begin afterwards."""
        found = registered.changed(cursor, mark=self._mark)
        if found is not None:
            CONNECTIONS.put(Connection(*row) for row in found.connections)
            self._secrets = opened(found.secrets)
            self._mark = found.mark
        values, faults = known(self._secrets)
        SECRETS.put(values, faults=faults)
