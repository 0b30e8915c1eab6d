"""Ctrl-C ends an example and all that it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import tree

from .conftest import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def place() -> Iterator[Path]:
    """Where temporary folders are made; the database's own user passes through."""
    folder = Path(tempfile.mkdtemp(prefix="examples-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("order_saga", "order-good"),
        ("money_transfer", "is killed"),
        ("approval", "waits for"),
        ("fan_out", "kill -9"),
        ("subflow", "/collect"),
    ],
)
def test_an_interrupted_example_leaves_nothing_behind(place: Path, name: str, line: str) -> None:
    process = subprocess.Popen(
        [ROOT / "script" / "example", name],
        env={**os.environ, "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any(line in said for said in process.stdout)
    started = {each.pid for each in tree(process.pid, naming=str(place))}

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert len(started) > 5
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert [pid for pid in started if Path(f"/proc/{pid}/exe").exists()] == []
    assert list(place.iterdir()) == []
