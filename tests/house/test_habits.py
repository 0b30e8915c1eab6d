"""Django's own habits, without script/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.house.conftest import ROOT, environment


def test_the_first_runserver_warns_of_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "import dist_task.wsgi"]

    done = subprocess.run(command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stderr) == (0, "")
