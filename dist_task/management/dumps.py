"""PostgreSQL's own programs for dumps, called with what the service itself connects with."""

from __future__ import annotations

import os
import subprocess

from django.core.management.base import CommandError
from django.db import connection

from dist_task.embedded.binaries import find_binaries
from dist_task.embedded.layout import Trouble


def run_program(name: str, *arguments: str) -> None:
    """Raises CommandError with the program's last words."""
    connection.ensure_connection()
    known = {key: str(value) for key, value in connection.get_connection_params().items()}
    environment = {**os.environ, "PGPASSWORD": known.get("password", "")}
    access = [f"--{option}={known[key]}" for option, key in _OPTIONS.items() if known.get(key)]
    try:
        command = [find_program(name), *access, "--no-password", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CommandError(f"{name} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise CommandError(f"{name} failed: {last}")


_OPTIONS = {"host": "host", "port": "port", "username": "user", "dbname": "dbname"}


def find_program(name: str) -> str:
    """The embedded installation's, or the one on PATH where there is none."""
    try:
        return find_binaries().program(name)
    except Trouble:
        return name
