"""Whom the server runs as: PostgreSQL refuses to be root, so root hands it to an unprivileged user."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dist_task.embedded.layout import Trouble

PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine; `switch` says that we are somebody else (root) and have to change first."""

    uid: int
    gid: int
    switch: bool


def choose_account(*, cluster: Path) -> Account:
    """Ourselves; as root the owner of the existing database cluster, else `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid(), switch=False)
    with contextlib.suppress(FileNotFoundError):
        owner = cluster.stat()
        if owner.st_uid != 0:
            return Account(uid=owner.st_uid, gid=owner.st_gid, switch=True)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(uid=entry.pw_uid, gid=entry.pw_gid, switch=True)
    raise Trouble("PostgreSQL does not run as root and there is no user `postgres` or `nobody` to run it as.")


def child_setup(account: Account, *, death_signal: signal.Signals) -> Callable[[], None]:
    """What a child does between fork and exec: become the user, and die with us."""
    bind = bind_to_parent(death_signal)

    def set_up() -> None:
        if account.switch:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
        os.umask(0o077)
        bind()  # after the change of user, which forgets it

    return set_up


def bind_to_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """To be called in a child: have the system send it the signal when the parent dies (Linux only)."""
    parent = os.getpid()

    def bind() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return bind


def run_as(account: Account, *, command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a short program of PostgreSQL; `Trouble` when this process may not become that user."""
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=server_environment(),
            preexec_fn=child_setup(account, death_signal=signal.SIGKILL),
        )
    except subprocess.SubprocessError as error:
        raise Trouble(
            "PostgreSQL does not run as root and this process may not change to another user: "
            "start as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own."
        ) from error


def can_reach(account: Account, *, folder: Path, program: str) -> bool:
    """Whether the user gets to our folder and can run the program. Asked by doing it, not from modes."""
    if not account.switch:
        return True
    try:
        return (
            run_as(account, command=["/bin/sh", "-c", 'cd "$0" && "$1" --version', str(folder), program]).returncode
            == 0
        )
    except OSError:
        return False


def server_environment() -> dict[str, str]:
    """Nothing of ours: PG* variables would change what the programs do, secrets are none of theirs."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
