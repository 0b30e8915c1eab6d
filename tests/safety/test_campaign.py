"""script/campaign, short: two clusters, real faults, one judge."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .conftest import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_half_a_minute_of_faults_breaks_nothing() -> None:
    found = half_a_minute("--need", "parked,duplicate_start,pause,retry_at_once,called_back")

    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert "all guarantees held" in found.stdout


@pytest.mark.matrix
def test_without_the_fence_the_campaign_goes_red() -> None:
    found = half_a_minute("--need", "", "--points", "unfenced:*:on")

    assert found.returncode == 1, found.stdout[-4000:] + found.stderr[-2000:]
    assert "BROKEN invariant" in found.stdout


def half_a_minute(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "campaign", "--minutes", "0.5", "--seed", "7", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ}, capture_output=True, text=True, timeout=400)
