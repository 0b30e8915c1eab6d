"""What script/ says when .venv cannot be made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.house.conftest import ROOT

PYTHON = """#!/bin/sh
case "$1" in
    --version) echo "Python 3.11.9" ;;
    -m) echo "Error: ensurepip is not there"; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("ulimit -f 1000", "error: the disk is full: {place}/.venv could not be made."),
        (
            ":",
            "error: {place}/.venv could not be made (Error: ensurepip is not there): on Debian, install python3-venv.",
        ),
    ],
)
def test_a_full_disk_is_told_from_a_missing_package(tmp_path: Path, limit: str, told: str) -> None:
    """A limit on the size of files stands for the full disk."""
    (tmp_path / "requirements.txt").touch()
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    script = f"set -eu; {limit}; . {ROOT}/script/environment; install_requirements requirements.txt"

    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == told.format(place=tmp_path)
    assert not (tmp_path / ".disk-probe").exists()
