"""script/campaign, short: two clusters, real faults, one judge."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .conftest import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_half_a_minute_of_faults_breaks_nothing() -> None:
    command = [sys.executable, "-m", "campaign", "--minutes", "0.5", "--seed", "7", "--need", "parked,duplicate_start"]
    found = subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=400)

    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert "all guarantees held" in found.stdout
