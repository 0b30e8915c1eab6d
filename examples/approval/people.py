"""Two users of the service with roles of their own, and what each may decide."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from bench.children import REPOSITORY
from examples.server import Server


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    token: str


def hire(name: str, *, role: str, server: Server) -> Person:
    """A user with this role and a token, as an admin makes them."""
    made = subprocess.run(
        [sys.executable, REPOSITORY / "manage.py", "create_token", name, "--role", role],
        env={**os.environ, "DIST_TASK_DATA": str(server.data)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Person(name, made.stdout.strip())
