"""Between the rows of connections and the values that executors know."""

from __future__ import annotations

from dist_task.executors.connections import CONNECTIONS
from dist_task.executors.connections import Connection as Known

from .models import Connection


def learn_connections() -> None:
    """Before something is checked that may name one. Workers learn them by their own query."""
    rows = Connection.objects.values_list("name", "kind", "config", "is_active")
    CONNECTIONS.put(Known(*row) for row in rows)
