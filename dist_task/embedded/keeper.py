"""The keeper: a small process that runs the embedded PostgreSQL as its child for as long as somebody uses it.

    python -m dist_task.embedded.keeper DIR [--daemon ID] [--stay]

`--daemon`: go into the background; ID names this keeper in what it publishes. `--stay`: run until told to
stop, and stand by while another keeper serves DIR (the supervisor's does). Exit status 3: a `Trouble`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dist_task.embedded.account import child_setup, server_environment
from dist_task.embedded.alarm import Alarm
from dist_task.embedded.cluster import Cluster, fsync_is_off, open_cluster, open_log, socket_folder
from dist_task.embedded.layout import Layout, ServerState, Trouble, explain, open_lock, try_lock

LINGER_SECONDS = 2.0
LOCK_PATIENCE_SECONDS = 0.5
STOP_PATIENCE_SECONDS = 8.0
IDLE_STOP_PATIENCE_SECONDS = 120.0
DISPEL_SECONDS = 6.0
TROUBLE_STATUS = 3
LONGEST_PAUSE_SECONDS = 5.0
STARTS_BEFORE_FAILED = 6


@dataclass(slots=True)
class Keeper:
    """One keeper of one data folder."""

    layout: Layout
    name: str
    stay: bool
    alarm: Alarm
    users_lock: int = -1
    unused_since: float | None = None
    published: ServerState | None = None
    failed_starts: int = 0
    next_start_at: float = 0.0
    process: subprocess.Popen[bytes] | None = field(default=None)

    def run(self) -> int:
        try:
            self.layout.prepare()
            if not self._become_the_keeper():
                return 0
            self.publish("starting")
            cluster = open_cluster(self.layout)
            sockets = socket_folder(cluster)
        except OSError as error:
            return self._give_up(explain(error, place=self.layout.folder))
        except Trouble as trouble:
            return self._give_up(str(trouble))
        self.users_lock = open_lock(self.layout.users_lock)
        self._serve(cluster, sockets=sockets)
        self._leave(cluster, sockets=sockets)
        return 0

    def _give_up(self, sentence: str) -> int:
        with contextlib.suppress(OSError):
            self.publish("failed", message=sentence)
        sys.stderr.write(f"{sentence}\n")
        return TROUBLE_STATUS

    def _become_the_keeper(self) -> bool:
        """Take the keeper's lock. Who looks whether it is free holds it for a moment: ask more than once."""
        lock = open_lock(self.layout.keeper_lock)
        until = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not try_lock(lock):
            if self.alarm.stops or (not self.stay and time.monotonic() > until):
                return False
            self.alarm.wait(0.05 if time.monotonic() < until else 0.25)
        os.ftruncate(lock, 0)
        os.pwrite(lock, self.name.encode(), 0)
        return True

    def publish(
        self,
        status: Literal["starting", "ready", "failed"],
        *,
        sockets: Path | None = None,
        message: str = "",
    ) -> None:
        state = ServerState(keeper=self.name, status=status, socket_folder=str(sockets or ""), message=message)
        if state != self.published:
            self.layout.publish(state)
            self.published = state

    def _serve(self, cluster: Cluster, *, sockets: Path) -> None:
        while not self.alarm.stops and not self._unused():
            if self.process is None and time.monotonic() >= self.next_start_at:
                self._start(cluster, sockets=sockets)
            elif self.process is not None and self.process.poll() is not None:
                self._note_death(cluster)
            elif self.process is not None and self._is_ready(cluster):
                self.failed_starts = 0
                self._publish_calmly("ready", sockets=sockets)
            self.alarm.wait(0.25 if self.published and self.published.status == "ready" else 0.02)

    def _publish_calmly(self, status: Literal["starting", "ready", "failed"], **rest: object) -> None:
        """A full disk must not end the keeper: the next round publishes."""
        with contextlib.suppress(OSError):
            self.publish(status, **rest)  # type: ignore[arg-type]  # passed through

    def _start(self, cluster: Cluster, *, sockets: Path) -> None:
        with open_log(self.layout.log_file) as log:
            self.process = subprocess.Popen(
                server_command(cluster, sockets=sockets),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=server_environment(),
                start_new_session=True,
                # A fast shutdown, should we be killed.
                preexec_fn=child_setup(cluster.account, death_signal=signal.SIGINT),
            )

    def _note_death(self, cluster: Cluster) -> None:
        """Start it again, at first at once: what a killed server left behind needs a moment to go away."""
        self.process = None
        self.failed_starts += 1
        pause = min(LONGEST_PAUSE_SECONDS, 0.1 * 2 ** (self.failed_starts - 1))
        self.next_start_at = time.monotonic() + pause
        if self.failed_starts >= STARTS_BEFORE_FAILED:
            self._publish_calmly("failed", message=why_it_died(self.layout, cluster=cluster))
        else:
            self._publish_calmly("starting")

    def _is_ready(self, cluster: Cluster) -> bool:
        """PostgreSQL writes its pid and, in the eighth line, its status into its pid file."""
        try:
            lines = cluster.pid_file.read_text().splitlines()
        except OSError:
            return False
        return bool(
            self.process and len(lines) >= 8 and lines[0] == str(self.process.pid) and lines[7].strip() == "ready"
        )

    def _unused(self) -> bool:
        """Whether nobody has held the users' lock for a while. True leaves it taken: newcomers wait."""
        if self.stay:
            return False
        now = time.monotonic()
        if not try_lock(self.users_lock):
            self.unused_since = None
            return False
        self.unused_since = self.unused_since or now
        if now - self.unused_since >= LINGER_SECONDS:
            return True
        os.close(self.users_lock)  # closing is the one way of unlocking that cannot be forgotten
        self.users_lock = open_lock(self.layout.users_lock)
        return False

    def _leave(self, cluster: Cluster, *, sockets: Path) -> None:
        """Fast shutdown; out of patience or told once more, an immediate one (the next start recovers)."""
        self._publish_calmly("starting")
        told, patience = (
            self.alarm.stops,
            STOP_PATIENCE_SECONDS if self.alarm.stops else IDLE_STOP_PATIENCE_SECONDS,
        )
        for number, seconds in (
            (signal.SIGINT, patience),
            (signal.SIGQUIT, DISPEL_SECONDS),
            (signal.SIGKILL, 60.0),
        ):
            until = time.monotonic() + seconds
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(number)
            while self.process is not None and self.process.poll() is None and time.monotonic() < until:
                if number == signal.SIGINT and self.alarm.stops > told:
                    break
                self.alarm.wait(0.1)
        with contextlib.suppress(OSError):
            self.layout.state_file.unlink(missing_ok=True)
            if sockets.parent != cluster.home:
                sockets.rmdir()


def server_command(cluster: Cluster, *, sockets: Path) -> list[str]:
    """Only what must not be changed is given here; the rest is in postgresql.conf."""
    settings = {"listen_addresses": "", "port": "5432", "unix_socket_directories": str(sockets)}
    settings["unix_socket_permissions"] = "0700"
    if fsync_is_off():
        settings |= {"fsync": "off", "full_page_writes": "off"}
    command = [cluster.binaries.program("postgres"), "-D", str(cluster.data)]
    return command + [argument for item in settings.items() for argument in ("-c", "=".join(item))]


def why_it_died(layout: Layout, *, cluster: Cluster) -> str:
    with contextlib.suppress(OSError), open(layout.log_file, "rb") as log:
        log.seek(max(0, layout.log_file.stat().st_size - 4000))
        lines = log.read().decode(errors="replace").splitlines()
        if any("No space left on device" in line for line in lines[-10:]):
            return f"The disk is full: there is no room left for the database in {cluster.home}."
        reasons = [line for line in lines if "FATAL" in line or "PANIC" in line] or ["no reason given"]
        return f"PostgreSQL does not start, see {layout.log_file}: {reasons[-1]}"
    return f"PostgreSQL does not start, and {layout.log_file} cannot be read."


def go_into_the_background(layout: Layout) -> None:
    """Leave our starter's session and terminal; what we say goes to the server's log."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0)
    try:
        with open_log(layout.log_file) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    except OSError:
        os.dup2(silence, 1)
        os.dup2(silence, 2)


def main(arguments: list[str]) -> int:
    layout = Layout(folder=Path(arguments[0]))
    name = os.urandom(8).hex()
    if "--daemon" in arguments:
        name = arguments[arguments.index("--daemon") + 1]
        go_into_the_background(layout)
    return Keeper(layout=layout, name=name, stay="--stay" in arguments, alarm=Alarm()).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
