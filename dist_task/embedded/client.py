"""The user's side: make sure that the server of a data folder runs, and keep it running while we live."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dist_task.embedded.layout import Layout, ServerState, Trouble, lock_is_free, open_lock

FIRST_PATIENCE_SECONDS = 600.0
"""How long the first connection of a process waits: recovery after a crash may take minutes."""
PATIENCE_SECONDS = 1.5
"""How long a later one waits: then a request is better answered with 503."""
RESPAWN_SECONDS = 3.0
MOST_SPAWNS = 5
"""Keepers that go without a word before we stop starting them."""
SOURCE = Path(__file__).resolve().parent.parent.parent

_users_locks: dict[Path, int] = {}
"""Open for the life of the process and of those forked from it; never closed."""
_served: set[Path] = set()
_guard = threading.Lock()


def _renew_guard() -> None:
    """A thread that held it does not exist in a forked child."""
    global _guard
    _guard = threading.Lock()


os.register_at_fork(after_in_child=_renew_guard)


@dataclass(frozen=True, slots=True)
class Server:
    """How to connect."""

    host: str
    password: str


def ensure_server(folder: Path) -> Server:
    """Start the server of `folder` unless it runs, and wait until it answers; raises `Trouble`."""
    layout = Layout(folder=folder)
    with _guard:
        _use(layout)
    state = layout.state()
    if state is None or state.status != "ready":
        # Without the guard: during an outage all threads wait at the same time, not one after the other.
        state = _wait(layout, seconds=PATIENCE_SECONDS if folder in _served else FIRST_PATIENCE_SECONDS)
    _served.add(folder)
    return Server(host=state.socket_folder, password=layout.password())


def _use(layout: Layout) -> None:
    """Hold the users' lock from now on. Waits while a keeper is on its way out."""
    if layout.folder not in _users_locks:
        layout.prepare()
        lock = open_lock(layout.users_lock)
        fcntl.flock(lock, fcntl.LOCK_SH)
        _users_locks[layout.folder] = lock


def _wait(layout: Layout, *, seconds: float) -> ServerState:
    until = time.monotonic() + seconds
    respawn_at, spawned, name = 0.0, 0, ""
    while time.monotonic() < until:
        if not is_supervised() and time.monotonic() >= respawn_at and lock_is_free(layout.keeper_lock):
            if spawned == MOST_SPAWNS:
                break
            name, spawned = _spawn_keeper(layout), spawned + 1
            respawn_at = time.monotonic() + RESPAWN_SECONDS
        state = layout.state()
        if state is not None and state.status == "ready":
            return state
        if message := _failure(layout, state=state, name=name):
            raise Trouble(message)
        time.sleep(0.02)
    raise Trouble(f"The embedded PostgreSQL of {layout.folder} does not answer: see {layout.log_file}.")


def _failure(layout: Layout, *, state: ServerState | None, name: str) -> str:
    """What the living keeper says, or the last words of the one we started."""
    if state is None:
        state = layout.last_words()
        if state is None or state.keeper != name:
            return ""
    return state.message if state.status == "failed" else ""


def is_supervised() -> bool:
    """Below a supervisor, which starts and restarts the keeper itself."""
    return os.environ.get("DIST_TASK_KEEPER") == "supervised"


def _spawn_keeper(layout: Layout) -> str:
    name = os.urandom(8).hex()
    command = [sys.executable, "-m", "dist_task.embedded.keeper", str(layout.folder), "--daemon", name]
    try:
        subprocess.run(command, env=keeper_environment(), check=False, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise Trouble(f"The keeper of the embedded PostgreSQL cannot be started: {error.strerror}.") from error
    return name


def keeper_environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(SOURCE), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
