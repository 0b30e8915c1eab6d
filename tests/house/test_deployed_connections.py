"""Connections that a deployment registers in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dist_task import deployed
from dist_task.checks import check_connections
from dist_task.profiles import refusal
from tests.house.conftest import ROOT

BROKER = {"kind": "mq", "url": "amqp://user:s3cret@broker:5672/"}


def test_they_are_a_json_object() -> None:
    assert deployed.connections(json.dumps({"mq": BROKER})) == {"mq": BROKER}


def test_or_a_file_with_one(tmp_path: Path) -> None:
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"mq": BROKER}))

    assert deployed.connections(str(file)) == {"mq": BROKER}


@pytest.mark.parametrize("given", ["", "  ", "{}"])
def test_or_none(given: str) -> None:
    assert deployed.connections(given) == {}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("/nowhere/at/all", "is neither a JSON object nor a file that can be read (No such file or directory)"),
        ("{s3cret", "is not JSON (line 1, column 2: Expecting property name enclosed in double quotes)"),
        ("[]", "is not a JSON object of connections by their names"),
        ('{"mq": "amqp://user:s3cret@broker"}', "has no object with a kind under 'mq'"),
        ('{"mq": {"url": "amqp://user:s3cret@broker"}}', "has no object with a kind under 'mq'"),
        ("[" * 100_000, "is not JSON in UTF-8"),
    ],
)
def test_what_cannot_be_read_is_said_without_showing_it(given: str, sentence: str) -> None:
    assert refusal({deployed.VARIABLE: given}) == f"DIST_TASK_CONNECTIONS {sentence}."


def test_a_command_says_so_in_one_line() -> None:
    environment = {**os.environ, deployed.VARIABLE: "{"}

    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    assert done.stderr.startswith("error: DIST_TASK_CONNECTIONS is not JSON (line 1,")
    assert done.stderr.count("\n") == 1


def test_they_reach_the_tasks() -> None:
    environment = {**os.environ, deployed.VARIABLE: json.dumps({"mq": BROKER})}
    asking = "from dist_task.executors.connections import CONNECTIONS; print(CONNECTIONS.find('mq', kind='mq').config)"

    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", asking],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout == f"{ {'url': BROKER['url']} }\n"


@pytest.mark.parametrize(
    ("connection", "problem"),
    [
        ({"kind": "smtp"}, "its kind must be one of "),
        ({"kind": "mq"}, "url is required, like amqp://user:password@broker:5672/vhost"),
        ({"kind": "mq", "url": "http://user:s3cret@broker"}, "url must begin with one of amqp://"),
        ({"url": "amqp://broker"}, "it must be an object with a kind"),
        ("amqp://user:s3cret@broker", "it must be an object with a kind"),
    ],
)
def test_one_that_no_task_could_use_is_found_by_check(settings: Any, connection: Any, problem: str) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": {"mq": connection}}

    [found] = check_connections(None)

    assert (found.id, found.hint) == (
        "dist_task.E006",
        "Mend the environment variable DIST_TASK_CONNECTIONS (docs/executors.md says what each kind takes).",
    )
    assert found.msg.startswith(f"The connection 'mq' is wrong: {problem}")
    assert "s3cret" not in found.msg


def test_sound_ones_are_passed_over(settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": {"mq": BROKER}}

    assert check_connections(None) == []
