"""What an environment must have for its profile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.test import override_settings

from dist_task.checks import check_four_eyes, check_production_profile
from dist_task.four_eyes.words import Act
from dist_task.profiles import FOUR_EYES_ACTS, refusal
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


@pytest.mark.parametrize("value", ["", "compensate", "batch", " compensate , batch ", ","])
def test_the_four_eyes_rule_names_what_it_knows(value: str) -> None:
    assert refusal({"DIST_TASK_FOUR_EYES": value, "DIST_TASK_FOUR_EYES_HOURS": "0.5"}) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DIST_TASK_FOUR_EYES": "compensation"}, "not 'compensation' (did you mean compensate?)"),
        ({"DIST_TASK_FOUR_EYES": "batch,xyz"}, "knows compensate and batch, not 'xyz'."),
        ({"DIST_TASK_FOUR_EYES": "x" * 5_000}, "knows compensate and batch"),
        ({"DIST_TASK_FOUR_EYES_HOURS": "0"}, "from 0.01 to 720, not '0'"),
        ({"DIST_TASK_FOUR_EYES_HOURS": "nan"}, "not 'nan'"),
        ({"DIST_TASK_FOUR_EYES_HOURS": "a day"}, "not 'a day'"),
        ({"DIST_TASK_FOUR_EYES_HOURS": "721"}, "not '721'"),
    ],
)
@pytest.mark.parametrize("profile", [{}, GOOD])
def test_a_four_eyes_rule_that_would_not_hold_does_not_start(
    profile: dict[str, str], change: dict[str, str], said: str
) -> None:
    sentence = refusal({**profile, **change})

    assert said in sentence
    assert "DIST_TASK_FOUR_EYES" in sentence
    assert len(sentence) < 300


def test_the_words_of_the_rule_are_the_same_with_and_without_django() -> None:
    assert tuple(Act.values) == FOUR_EYES_ACTS


@pytest.mark.parametrize(
    ("values", "id"),
    [
        ({"FOUR_EYES": ("compensat",)}, "dist_task.E008"),
        ({"FOUR_EYES": ("batch",), "FOUR_EYES_HOURS": 0}, "dist_task.E008"),
        ({"FOUR_EYES": ("batch",), "FOUR_EYES_HOURS": None}, "dist_task.E008"),
        ({"FOUR_EYES": ("batch",), "ANONYMOUS_API": True}, "dist_task.W002"),
    ],
)
def test_a_settings_module_with_a_rule_that_would_not_hold_is_found(values: dict[str, object], id: str) -> None:
    with override_settings(DIST_TASK=values):
        assert [problem.id for problem in check_four_eyes(None)] == [id]
    with override_settings(DIST_TASK={"FOUR_EYES": ("compensate", "batch")}):
        assert check_four_eyes(None) == []
