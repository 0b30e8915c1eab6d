"""A MariaDB server of one's own on loopback, for tests: `with mariadb() as server: server.connect()`."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

PATIENCE_SECONDS = 90.0
PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
SERVER = shutil.which("mariadbd", path=PATH)
INSTALL = shutil.which("mariadb-install-db", path=PATH)
MISSING = "" if SERVER and INSTALL else "needs mariadbd (Debian: mariadb-server)"
"""Why there can be no server here, for `pytest.mark.skipif(MISSING, reason=MISSING)`; empty when there can."""

SMALL = (
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",  # nobody needs these rows after a power cut
    "--innodb-doublewrite=0",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--skip-name-resolve",
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where it listens, and a user that may do everything from there."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def connect(self, **more: Any) -> pymysql.Connection[Any]:
        """A plain connection of PyMySQL; whoever asks for it closes it."""
        given = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        return pymysql.connect(**{**given, "database": self.database, "charset": "utf8mb4", **more})


@contextmanager
def mariadb() -> Iterator[Server]:
    """Starts a server in a temporary folder, which goes with it. Takes a second or two."""
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    server = Server(host="127.0.0.1", port=_free_port(), user="tests", password=secrets.token_hex(16), database="tests")
    try:
        _install(folder)
        process = _start(folder, server=server)
        try:
            _until_ready(process, folder=folder, server=server)
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder)


def _install(folder: Path) -> None:
    """The system tables. The only other user is root, by the socket in the private folder."""
    command = [str(INSTALL), "--no-defaults", f"--user={getpass.getuser()}", f"--datadir={folder / 'data'}"]
    done = subprocess.run([*command, "--skip-test-db"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _start(folder: Path, *, server: Server) -> subprocess.Popen[bytes]:
    first = folder / "first.sql"
    first.write_text(
        f"CREATE DATABASE {server.database} CHARACTER SET utf8mb4;\n"
        f"CREATE USER {server.user}@'{server.host}' IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON *.* TO {server.user}@'{server.host}' WITH GRANT OPTION;\n"
    )
    places = (f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}")
    listens = (f"--bind-address={server.host}", f"--port={server.port}", f"--init-file={first}")
    command = [str(SERVER), "--no-defaults", f"--user={getpass.getuser()}", *places, *listens, *SMALL]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _until_ready(process: subprocess.Popen[bytes], *, folder: Path, server: Server) -> None:
    """The user exists once the first statements have been run, which is after the port opens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            server.connect().close()
        except pymysql.OperationalError:  # `pymysql.err` is another module once Django has it as MySQLdb
            time.sleep(0.05)
        else:
            return
    raise AssertionError((folder / "log").read_text(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
