"""Data folders of their own, and programs that use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dist_task.embedded.layout import Layout
from dist_task.embedded.remove import remove

ROOT = Path(__file__).resolve().parent.parent.parent
WIDE_SECONDS = 90.0


def until(condition: Callable[[], object], *, seconds: float = WIDE_SECONDS) -> None:
    """Poll; the bound is for a machine that is busy, not for us."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def environment(folder: Path) -> dict[str, str]:
    hidden = ("DATABASE_URL", "DIST_TASK_KEEPER", "DIST_TASK_BIND", "DIST_TASK_PROFILE")
    known = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**known, "PYTHONPATH": str(ROOT), "DIST_TASK_DATA": str(folder), "DIST_TASK_PG_FSYNC": "off"}


def processes_of(folder: Path) -> list[int]:
    """Every process that names the folder in its environment or arguments, except the tests themselves."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in text:
            found.append(int(entry.name))
    return found


class Users:
    """Processes that use the server of a folder until they are told to leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        program = (
            "import sys; from pathlib import Path; from dist_task.embedded.client import ensure_server;"
            f"print(ensure_server(Path({str(self.folder)!r})).host, flush=True); sys.stdin.read()"
        )
        user = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(self.folder),
        )
        self.running.append(user)
        return user

    def connected(self) -> str:
        """Start one more; the folder of the server's socket once it answers."""
        user = self.start()
        assert user.stdout is not None
        line = user.stdout.readline().strip()
        assert line, user.communicate()[1]
        return line

    def leave(self) -> None:
        for user in self.running:
            user.communicate()
        self.running.clear()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that the server's own user can pass through, with a short path."""
    home = Path(tempfile.mkdtemp(prefix="house-"))
    home.chmod(0o711)
    yield home / "var"
    until(lambda: not processes_of(home))
    remove(home / "var")
    shutil.rmtree(home)


@pytest.fixture
def users(folder: Path) -> Iterator[Users]:
    users = Users(folder)
    yield users
    users.leave()


def server_pid(folder: Path) -> int:
    """0 while there is none that answers."""
    layout = Layout(folder=folder)
    state = layout.state()
    if state is None or state.status != "ready":
        return 0
    home = Path(layout.elsewhere_file.read_text().strip()) if layout.elsewhere_file.exists() else layout.cluster
    return int((home / "data" / "postmaster.pid").read_text().splitlines()[0])


def keeper_pid(folder: Path) -> int:
    server = server_pid(folder)
    stat = Path(f"/proc/{server}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])
