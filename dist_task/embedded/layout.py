"""The files of one data folder, and what they say."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

SUPERUSER = "dist_task"
DATABASE = "dist_task"


class Trouble(Exception):  # noqa: N818  # it is a sentence for a person, told by whoever asked for the server
    """The server cannot be started; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the keeper publishes. `keeper` is random per keeper: a state of a dead one is never believed."""

    keeper: str
    status: Literal["starting", "ready", "failed"]
    socket_folder: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are below the data folder DIR."""

    folder: Path

    @property
    def keeper_lock(self) -> Path:
        """Held exclusively by the one keeper, which also writes its random id into it."""
        return self.folder / "keeper.lock"

    @property
    def users_lock(self) -> Path:
        """Held shared by every process that uses the server; who gets it exclusively is alone."""
        return self.folder / "users.lock"

    @property
    def state_file(self) -> Path:
        return self.folder / "server.json"

    @property
    def password_file(self) -> Path:
        return self.folder / "postgres.password"

    @property
    def log_file(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def cluster(self) -> Path:
        """The home of the database cluster; where it went elsewhere, `elsewhere_file` names the place."""
        return self.folder / "postgres"

    @property
    def elsewhere_file(self) -> Path:
        return self.folder / "postgres.elsewhere"

    def prepare(self) -> None:
        """Make the folder. Other users may pass through it (the server's own has to), not look into it."""
        try:
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            os.close(os.open(self.users_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Trouble(explain(error, place=self.folder)) from error

    def state(self) -> ServerState | None:
        """The state of the keeper that lives now; None when there is none, or it has not spoken yet."""
        state = self.last_words()
        try:
            keeper = self.keeper_lock.read_text()
        except OSError:
            return None
        return state if state and state.keeper == keeper and not lock_is_free(self.keeper_lock) else None

    def last_words(self) -> ServerState | None:
        """What was published last, by a keeper that may be dead."""
        try:
            return ServerState(**json.loads(self.state_file.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def publish(self, state: ServerState) -> None:
        write_private(self.state_file, text=json.dumps(asdict(state)))

    def password(self) -> str:
        return self.password_file.read_text().strip()


def write_private(path: Path, *, text: str) -> None:
    """Replace a file in one step; only its owner can read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(fd: int) -> bool:
    """Take the exclusive lock if nobody holds any."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_is_free(path: Path) -> bool:
    """Asked with a shared lock, so that two who ask at the same time do not take each other for a holder."""
    fd = open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def explain(error: OSError, *, place: Path) -> str:
    """One sentence for what the operating system refused."""
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return f"The disk is full: there is no room left for the database in {place}."
    if error.errno in (1, 13, 30):  # EPERM, EACCES, EROFS
        return f"The data folder {place} is not writable for this user: choose another with DIST_TASK_DATA."
    return f"The data folder {place} cannot be used: {error.strerror or error}."
