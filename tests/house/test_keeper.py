"""The embedded server: shared, revived, ended with its last user."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psycopg2
import pytest

from dist_task.embedded.binaries import MAJOR
from dist_task.embedded.client import Server
from dist_task.embedded.layout import DATABASE, SUPERUSER, Layout, Trouble
from tests.house.conftest import Users, keeper_pid, processes_of, server_pid, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def query(folder: Path, *, host: str, sql: str) -> object:
    server = Server(host=host, password=Layout(folder=folder).password())
    connection = psycopg2.connect(host=server.host, password=server.password, user=SUPERUSER, dbname=DATABASE)
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
            assert row is not None
            return row[0]
    finally:
        connection.close()


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_users_share_one_server_and_it_ends_with_the_last(folder: Path, users: Users) -> None:
    first = users.connected()
    server = server_pid(folder)

    second = users.connected()

    assert second == first
    assert server_pid(folder) == server
    users.leave()
    until(lambda: not is_alive(server))
    until(lambda: not processes_of(folder))


def test_two_who_start_it_at_the_same_time_get_one_server(folder: Path, users: Users) -> None:
    starters = [users.start() for _ in range(2)]

    hosts = {starter.stdout.readline() for starter in starters if starter.stdout is not None}

    assert len(hosts) == 1
    keepers = [pid for pid in processes_of(folder) if b"embedded.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(keepers) == 1


def test_it_is_what_the_service_needs(folder: Path, users: Users) -> None:
    host = users.connected()

    def ask(sql: str) -> object:
        return query(folder, host=host, sql=sql)

    assert str(ask("SHOW server_version")).startswith(f"{MAJOR}.")
    assert ask("SHOW server_encoding") == "UTF8"
    assert ask("SHOW listen_addresses") == ""
    assert ask("SHOW timezone") == "UTC"
    assert ask("SHOW synchronous_commit") == "on"
    assert ask("SELECT lower('ÄΩ')") == "äω"
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host=host, user=SUPERUSER, dbname=DATABASE, password="wrong")


def test_nobody_else_may_read_the_password_or_the_socket(folder: Path, users: Users) -> None:
    host = users.connected()

    assert Layout(folder=folder).password_file.stat().st_mode & 0o077 == 0
    assert Path(host).stat().st_mode & 0o077 == 0


def test_a_killed_server_comes_back_with_its_data(folder: Path, users: Users) -> None:
    host = users.connected()
    query(folder, host=host, sql="CREATE TABLE kept AS SELECT 42 AS answer; COMMIT; SELECT 1")
    killed = server_pid(folder)

    os.kill(killed, signal.SIGKILL)
    until(lambda: not is_alive(killed) and server_pid(folder) not in (0, killed))

    assert query(folder, host=users.connected(), sql="SELECT answer FROM kept") == 42


def test_a_killed_keeper_takes_the_server_with_it(folder: Path, users: Users) -> None:
    users.connected()
    server = server_pid(folder)

    os.kill(keeper_pid(folder), signal.SIGKILL)
    until(lambda: not is_alive(server))

    assert "received fast shutdown request" in Layout(folder=folder).log_file.read_text()
    users.connected()
    assert server_pid(folder) not in (0, server)


def test_a_long_path_gets_a_short_socket(folder: Path, users: Users) -> None:
    users.folder = folder / ("long" * 30)
    folder.mkdir(mode=0o711)

    host = users.connected()

    assert len(host) < 80
    assert query(users.folder, host=host, sql="SELECT 1") == 1
    users.leave()
    until(lambda: not processes_of(folder))
    assert not Path(host).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another user")
def test_below_a_folder_that_only_root_passes_the_data_go_elsewhere(folder: Path, users: Users) -> None:
    folder.parent.chmod(0o700)

    host = users.connected()

    home = Path(Layout(folder=folder).elsewhere_file.read_text().strip())
    assert home.stat().st_uid != 0
    assert query(folder, host=host, sql="SELECT 1") == 1
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_data_of_another_major_version_are_refused(folder: Path, users: Users) -> None:
    users.connected()
    users.leave()
    until(lambda: not processes_of(folder))
    (Layout(folder=folder).cluster / "data" / "PG_VERSION").write_text("15\n")

    _, said = users.start().communicate()

    assert "was written by PostgreSQL 15" in said
    assert "script/restore" in said


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/below"])
def test_a_folder_that_cannot_be_made_is_one_sentence(place: str) -> None:
    with pytest.raises(Trouble, match="The data folder .* cannot be used|is not writable"):
        Layout(folder=Path(place)).prepare()
