"""A Django database backend: PostgreSQL's, which starts the embedded server when it connects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base

from dist_task.embedded.client import ensure_server
from dist_task.embedded.layout import SUPERUSER, Trouble
from dist_task.errors import DatabaseUnavailable


class EmbeddedServerError(DatabaseUnavailable, OperationalError):
    """Both: ours, so that a command says one sentence; Django's, for whoever expects an outage."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Commands that never connect start nothing."""

    def get_connection_params(self) -> dict[str, Any]:
        try:
            server = ensure_server(Path(self.settings_dict["DATA_DIR"]))
        except Trouble as trouble:
            raise EmbeddedServerError(str(trouble)) from trouble
        access = {"host": server.host, "port": "5432", "user": SUPERUSER, "password": server.password}
        return {**super().get_connection_params(), **access}
