"""What an environment must have for its profile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.test import override_settings

from dist_task.checks import check_production_profile
from dist_task.profiles import refusal
from tests.house.conftest import ROOT

STRONG = "k3Y-of_many.different+letters" * 2
GOOD = {"DIST_TASK_PROFILE": "production", "SECRET_KEY": STRONG, "ALLOWED_HOSTS": "tasks.example"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"DIST_TASK_PROFILE": "development", "SECRET_KEY": "short"},
        GOOD,
        {**GOOD, "DIST_TASK_ENVIRONMENT": "x" * 30},
    ],
)
def test_it_starts(environment: dict[str, str]) -> None:
    assert refusal(environment) == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DIST_TASK_PROFILE": "prod"}, "DIST_TASK_PROFILE"),
        ({"DIST_TASK_ENVIRONMENT": "x" * 31}, "DIST_TASK_ENVIRONMENT"),
        ({"DIST_TASK_ENVIRONMENT": "staging\nproduction"}, "DIST_TASK_ENVIRONMENT"),
        ({"DIST_TASK_ENVIRONMENT": "gnigats\u202e"}, "DIST_TASK_ENVIRONMENT"),
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY": STRONG[:49]}, "SECRET_KEY"),
        ({"SECRET_KEY": "abcd" * 20}, "SECRET_KEY"),
        ({"SECRET_KEY": "django-insecure-" + STRONG}, "SECRET_KEY"),
        ({"SECRET_KEY": "development-" + STRONG}, "SECRET_KEY"),
        ({"ALLOWED_HOSTS": ""}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": " , "}, "ALLOWED_HOSTS"),
        ({"ALLOWED_HOSTS": "tasks.example, *"}, "ALLOWED_HOSTS"),
    ],
)
def test_production_does_not_start_with_what_is_weak(change: dict[str, str], named: str) -> None:
    sentence = refusal({**GOOD, **change})

    assert named in sentence
    assert STRONG not in sentence


@pytest.mark.parametrize("command", ["check", "migrate", "web", "cluster", "prepare"])
def test_every_command_says_so_in_one_line(command: str) -> None:
    environment = {**os.environ, **GOOD, "SECRET_KEY": "weak"}

    done = subprocess.run(
        [sys.executable, "manage.py", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    assert done.stderr == "error: the production profile needs a SECRET_KEY of at least 50 random characters.\n"


@pytest.mark.parametrize(
    ("change", "id"),
    [
        ({"SECRET_KEY": "weak"}, "dist_task.E001"),
        ({"ALLOWED_HOSTS": ["*"]}, "dist_task.E002"),
        ({"DIST_TASK": {"ANONYMOUS_API": True}}, "dist_task.E003"),
    ],
)
def test_a_settings_module_that_weakens_ours_is_found(change: dict[str, object], id: str) -> None:
    good = {"PROFILE": "production", "SECRET_KEY": STRONG, "ALLOWED_HOSTS": ["tasks.example"], "DIST_TASK": {}}

    with override_settings(**{**good, **change}):
        assert [problem.id for problem in check_production_profile(None)] == [id]
