"""The two banks: databases beside the service's own in its embedded server, each with a role that tasks use."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.children import REPOSITORY
from dist_task.barrier import SQL
from examples.postgres import Postgres

NAMES = ("north", "south")
ACCOUNTS = 40
CLOSED = 2
"""The last ones of each bank."""
FIRST_CENTS = 100_000
CALLS_AT_ONCE = 8
"""Of each worker at each bank: a database has a limited number of connections, and the service needs some too."""
RIGHTS = {"accounts": ["update"], "incoming": ["insert", "delete"]}
COLUMNS = {"accounts": ["id", "cents", "is_open"], "incoming": ["id", "account", "cents"]}

TABLES = f"""
    CREATE TABLE accounts (id text PRIMARY KEY, cents bigint NOT NULL CHECK (cents >= 0), is_open boolean NOT NULL);
    CREATE TABLE incoming (id text PRIMARY KEY, account text NOT NULL REFERENCES accounts, cents bigint NOT NULL);
    INSERT INTO accounts SELECT current_database() || '-' || number, {FIRST_CENTS}, number <= {ACCOUNTS - CLOSED}
        FROM generate_series(1, {ACCOUNTS}) AS number;
    GRANT SELECT, UPDATE ON accounts TO %(role)s;
    GRANT SELECT, INSERT, DELETE ON incoming TO %(role)s;
    GRANT SELECT, INSERT, UPDATE ON dist_task_barrier TO %(role)s;
"""


class Banks:
    """`data`: the data folder of the service. The passwords are made first: the service gets them when it starts."""

    def __init__(self, data: Path, *, postgres: Postgres) -> None:
        self._data, self._postgres = data, postgres
        self._passwords = {name: secrets.token_urlsafe(16) for name in NAMES}

    @property
    def environment(self) -> dict[str, str]:
        """The secrets of the connections, as a deployment gives them to the service."""
        return {f"DIST_TASK_SECRET_{name.upper()}": password for name, password in self._passwords.items()}

    def found(self) -> None:
        """Makes the databases and roles, and registers a connection to each."""
        for name in NAMES:
            self._postgres.run("postgres", f"CREATE DATABASE {name}")
            self._postgres.run(name, f"CREATE ROLE tasks_{name} LOGIN PASSWORD '{self._passwords[name]}'")
            self._postgres.run(name, ";".join(SQL["postgresql"]))
            self._postgres.run(name, TABLES % {"role": f"tasks_{name}"})
        self._register()

    def _register(self) -> None:
        """Rows of the service, as the console makes them under Connections."""
        rows = [{"model": "flows.connection", "fields": self._connection(name)} for name in NAMES]
        subprocess.run(
            [sys.executable, REPOSITORY / "manage.py", "loaddata", "--verbosity", "0", "--format", "json", "-"],
            input=json.dumps(rows),
            text=True,
            check=True,
            env={**os.environ, "DIST_TASK_DATA": str(self._data)},
        )

    def _connection(self, name: str) -> dict[str, Any]:
        config = {
            "url": f"postgresql:///{name}",
            "socket": self._postgres.socket_folder,
            "user": f"tasks_{name}",
            "password": f"${{secrets.{name.upper()}}}",
            "cap": CALLS_AT_ONCE,
            "tables": {table: {"columns": COLUMNS[table], "operations": RIGHTS[table]} for table in RIGHTS},
        }
        return {"name": name, "kind": "db", "config": config}

    def accounts(self) -> dict[str, int]:
        """The cents of all accounts of both banks."""
        return {row[0]: row[1] for name in NAMES for row in self._postgres.run(name, "SELECT id, cents FROM accounts")}

    def incoming(self) -> list[str]:
        """The transfers that both banks know of."""
        return [row[0] for name in NAMES for row in self._postgres.run(name, "SELECT id FROM incoming")]
