"""Every place at which a worker can die, stand still or fail: nothing is lost, repeated, or left lying."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from .conftest import ROOT, Scene

pytestmark = pytest.mark.cluster

ACTIONS = ("kill", "stop", "raise", "cut", "hang=3")
HIT = re.compile(r'failpoints\.hit\("([a-z_.]+)"')
POINTS = sorted({name for file in (ROOT / "dist_task/engine").rglob("*.py") for name in HIT.findall(file.read_text())})
MATRIX = [(point, n, action) for point in POINTS for n in (1, 2) for action in ACTIONS]
SHORT = [case for case in MATRIX if case[1] == 1 and case[2] == "kill"] + [
    ("commit.after", 1, "cut"),
    ("commit.before", 2, "cut"),
    ("commit.before", 1, "raise"),
    ("renew.after", 1, "raise"),
    ("call.after", 1, "stop"),
]


def test_the_workload_passes_every_point(scene: Scene) -> None:
    """What it does not pass is passed by a fault only."""
    assert scene.run(repeat=2) == []
    assert set(POINTS) - set(scene.hits) <= {"taken_back", "finish"}, "these take a fault, or a person"


@pytest.mark.parametrize(("point", "n", "action"), SHORT)
def test_a_fault_loses_and_repeats_nothing(scene: Scene, point: str, n: int, action: str) -> None:
    assert scene.run(f"{point}:{n}:{action}") == []


@pytest.mark.matrix
@pytest.mark.parametrize(("point", "n", "action"), [case for case in MATRIX if case not in SHORT])
def test_no_fault_loses_or_repeats_anything(scene: Scene, point: str, n: int, action: str) -> None:
    assert scene.run(f"{point}:{n}:{action}") == []


def test_production_and_check_deploy_refuse_failpoints() -> None:
    environment = {
        **os.environ,
        "DIST_TASK_FAILPOINTS": "claim.after:1:kill",
        "SECRET_KEY": "".join(chr(33 + index % 90) for index in range(99)),
        "ALLOWED_HOSTS": "example.org",
    }
    command = [sys.executable, "-W", "ignore", "manage.py", "check", "--deploy"]
    found = {
        profile: subprocess.run(
            command, cwd=ROOT, env={**environment, "DIST_TASK_PROFILE": profile}, capture_output=True, text=True
        )
        for profile in ("development", "production")
    }
    assert "dist_task.E004" in found["development"].stderr
    assert "refuses to start with failpoints" in found["production"].stderr
    assert all(each.returncode for each in found.values())
