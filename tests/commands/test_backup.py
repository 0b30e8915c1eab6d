from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dist_task.embedded.remove import remove
from tests.commands.rows import make_flow, start_one

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.mark.django_db
def test_a_backup_is_private_and_overwrites_nothing(run, tmp_path):
    path = tmp_path / "a.dump"

    ran = run("backup", str(path))

    assert (ran.code, path.stat().st_mode & 0o777) == (0, 0o600)
    assert path.read_bytes().startswith(b"PGDMP")
    assert run("backup", str(path)).code == 2
    assert [each.name for each in tmp_path.iterdir()] == ["a.dump"]


@pytest.mark.django_db
def test_a_restore_spares_a_database_that_is_used(run, tmp_path):
    start_one("a", flow=make_flow())
    path = tmp_path / "a.dump"
    path.touch()

    ran = run("restore", str(path))

    assert (ran.code, "there are transactions already" in ran.err) == (1, True)


@pytest.fixture
def other_data() -> Iterator[Path]:
    """A data folder that the embedded server's own user can pass through, as it cannot through pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="dist_task-restore-"))
    folder.chmod(0o711)
    yield folder
    remove(folder)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_what_was_backed_up_is_there_after_a_restore(run, tmp_path, other_data):
    start_one("kept", flow=make_flow())
    run("backup", str(tmp_path / "a.dump"))

    done = subprocess.run(
        [str(REPOSITORY / "script" / "restore"), str(tmp_path / "a.dump")],
        env={**os.environ, "DIST_TASK_DATA": str(other_data)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("1 transaction is back\n", 0), done.stderr
