"""The database cluster on disk: where it lives, how it is made, and whether we may use it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dist_task.embedded.account import Account, can_reach, choose_account, run_as
from dist_task.embedded.binaries import MAJOR, Binaries, copy_binaries, find_binaries
from dist_task.embedded.layout import DATABASE, SUPERUSER, Layout, Trouble, explain, write_private

SHARED_PLACES = (Path("/var/lib/dist_task"), Path("/var/tmp/dist_task"))  # noqa: S108  # owner and mode are checked
SOCKET_PATH_LIMIT = 100
LOG_LIMIT = 10_000_000
SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "60",
    "wal_compression": "on",
    "synchronous_commit": "on",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "io_method": "sync",
    "jit": "off",
    "max_logical_replication_workers": "0",
    "max_worker_processes": "4",
    "max_parallel_workers": "2",
    "max_parallel_workers_per_gather": "1",
    "autovacuum_naptime": "15s",
    "autovacuum_max_workers": "2",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "1ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log is for what happens to the server. Statements, rows and values of ours stay out of it.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_autovacuum_min_duration": "-1",
}
"""Written once into postgresql.conf by initdb, where an operator can change them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A database cluster that is ready to be served."""

    home: Path
    account: Account
    binaries: Binaries

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"


def open_cluster(layout: Layout) -> Cluster:
    """Find or make the cluster of a data folder."""
    try:
        cluster = _locate(layout)
        _take_home(cluster)
        if not (cluster.data / "PG_VERSION").exists():
            _create(cluster, layout=layout)
    except OSError as error:
        raise Trouble(explain(error, place=layout.folder)) from error
    _check(cluster, layout=layout)
    return cluster


def _locate(layout: Layout) -> Cluster:
    """In DIR where the server's user gets there, else in a place of its own to which DIR points."""
    binaries = find_binaries()
    with contextlib.suppress(FileNotFoundError):
        home = Path(layout.elsewhere_file.read_text().strip())
        account = choose_account(cluster=home)
        return Cluster(home=home, account=account, binaries=_runnable(binaries, account=account, folder=home.parent))
    account = choose_account(cluster=layout.cluster)
    if can_reach(account, folder=layout.folder, program="true"):
        return Cluster(
            home=layout.cluster,
            account=account,
            binaries=_runnable(binaries, account=account, folder=layout.folder),
        )
    base = _shared_place()
    home = base / f"data-{os.urandom(8).hex()}"
    write_private(layout.elsewhere_file, text=f"{home}\n")
    return Cluster(home=home, account=account, binaries=_runnable(binaries, account=account, folder=base))


def _runnable(binaries: Binaries, *, account: Account, folder: Path) -> Binaries:
    """The installation, or a copy where the server's user cannot get at it (a clone below root's home)."""
    if can_reach(account, folder=folder, program=binaries.program("postgres")):
        return binaries
    return copy_binaries(binaries, base=_shared_place())


def _shared_place() -> Path:
    """A folder that everybody may pass through and only root may write to."""
    for place in SHARED_PLACES:
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o711, parents=True, exist_ok=True)
            found = place.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
                return place
    raise Trouble(
        "The server's user cannot reach the data folder and there is no other place for it: "
        "choose a folder that other users may pass through with DIST_TASK_DATA."
    )


def _take_home(cluster: Cluster) -> None:
    cluster.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cluster.account.switch and cluster.home.stat().st_uid != cluster.account.uid:
        os.chown(cluster.home, cluster.account.uid, cluster.account.gid)


def _create(cluster: Cluster, *, layout: Layout) -> None:
    """initdb into a draft, renamed at the end, so that half a cluster is never taken for one."""
    # Rarely needed, and the keeper is to be small: so imported here, and below.
    import secrets
    import shutil

    draft = cluster.home / "data.draft"
    if cluster.data.exists():
        raise Trouble(f"{cluster.data} exists but is no PostgreSQL data folder: move it away and start again.")
    if draft.exists():
        shutil.rmtree(draft)
    password = secrets.token_urlsafe(32)
    with _password_for(cluster, password=password) as password_file:
        _run(cluster, layout=layout, command=_initdb(cluster, draft=draft, password_file=password_file))
    single = [cluster.binaries.program("postgres"), "--single", "-D", str(draft), "postgres"]
    _run(cluster, layout=layout, command=single, stdin=f'CREATE DATABASE "{DATABASE}"\n')
    write_private(layout.password_file, text=f"{password}\n")
    draft.rename(cluster.data)


def _initdb(cluster: Cluster, *, draft: Path, password_file: Path) -> list[str]:
    command = [cluster.binaries.program("initdb"), "-D", str(draft), "-U", SUPERUSER, "-A", "scram-sha-256"]
    command += ["--pwfile", str(password_file), "--encoding", "UTF8", "--locale-provider", "builtin"]
    command += ["--builtin-locale", "C.UTF-8", "--locale", "C"]
    command += [argument for item in SETTINGS.items() for argument in ("--set", "=".join(item))]
    return [*command, "--no-sync"] if fsync_is_off() else command


@contextlib.contextmanager
def _password_for(cluster: Cluster, *, password: str) -> Iterator[Path]:
    """A file that only initdb's user can read, for as long as initdb runs."""
    import tempfile

    fd, name = tempfile.mkstemp(dir=cluster.home)
    try:
        with open(fd, "w") as file:
            file.write(password)
        os.chown(name, cluster.account.uid, cluster.account.gid)
        yield Path(name)
    finally:
        os.unlink(name)


def _run(cluster: Cluster, *, layout: Layout, command: list[str], stdin: str = "") -> None:
    done = run_as(cluster.account, command=command, stdin=stdin)
    with open_log(layout.log_file) as log:
        log.write(done.stderr.encode())
    if done.returncode == 0:
        return
    if "No space left on device" in done.stderr:
        raise Trouble(f"The disk is full: there is no room left for the database in {cluster.home}.")
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    raise Trouble(f"PostgreSQL could not make its data folder {cluster.home}: {last}")


def _check(cluster: Cluster, *, layout: Layout) -> None:
    version = (cluster.data / "PG_VERSION").read_text().strip()
    if version != str(MAJOR):
        raise Trouble(
            f"{cluster.data} was written by PostgreSQL {version} and this installation runs {MAJOR}: "
            "make a dump with the one that wrote it (script/backup), move the folder away, start again, "
            "and load the dump (script/restore)."
        )
    if not layout.password_file.exists():
        raise Trouble(f"{layout.password_file} is missing: bring it back, or move {cluster.home} away and start again.")


def open_log(path: Path) -> BinaryIO:
    """The server's log, begun anew (keeping the last one) when it has become long."""
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def fsync_is_off() -> bool:
    """For tests only: a crash of the machine loses the data folder."""
    return os.environ.get("DIST_TASK_PG_FSYNC") == "off"


def socket_folder(cluster: Cluster) -> Path:
    """A private folder with a path short enough for a unix socket (about 100 bytes)."""
    near = cluster.home / "run"
    if len(os.fsencode(near / ".s.PGSQL.5432")) < SOCKET_PATH_LIMIT:
        near.mkdir(mode=0o700, exist_ok=True)
        os.chown(near, cluster.account.uid, cluster.account.gid)
        return near
    import tempfile

    far = Path(tempfile.mkdtemp(prefix="dist_task-", dir="/tmp"))  # noqa: S108  # a fresh 0700 folder
    os.chown(far, cluster.account.uid, cluster.account.gid)
    return far
