"""The embedded PostgreSQL of a running service, as its superuser: for what an operator would do there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from dist_task.embedded.layout import SUPERUSER, Layout


class Postgres:
    """`data`: the data folder of the service, which need not be there yet."""

    def __init__(self, data: Path) -> None:
        self._layout = Layout(data)

    @property
    def socket_folder(self) -> str:
        """Empty while it does not run."""
        state = self._layout.state()
        return state.socket_folder if state else ""

    def run(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        """Raises psycopg2.Error where the server is away."""
        host, password = self.socket_folder, self._layout.password()
        with closing(psycopg2.connect(host=host, user=SUPERUSER, password=password, dbname=database)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall()) if cursor.description else []
