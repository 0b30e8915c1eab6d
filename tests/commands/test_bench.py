from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench.memory import tree
from bench.report import medians
from bench.step_server import Seen, Steps, header

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def test_medians_are_taken_value_by_value():
    rounds = [{"W3": {"a": 1.0, "b": 9.0}}, {"W3": {"a": 5.0, "b": 7.0}}, {"W3": {"a": 3.0, "b": 8.0}}]

    assert medians(rounds) == {"W3": {"a": 3.0, "b": 8.0}}


@pytest.mark.parametrize(
    ("head", "value"),
    [
        (b"POST /step HTTP/1.1\r\nIdempotency-Key: abc", b"abc"),
        (b"POST /step HTTP/1.1\r\nidempotency-key:abc\r\nHost: x", b"abc"),
        (b"POST /step HTTP/1.1\r\nHost: x", b""),
    ],
)
def test_headers_are_found_whatever_their_case(head, value):
    assert header(head, b"idempotency-key") == value


def test_the_step_server_refuses_the_first_attempt_of_a_retried_task_only():
    steps = Steps(Seen())
    head = b"POST /retry HTTP/1.1\r\nIdempotency-Key: abc"

    assert steps.respond(head).startswith(b"HTTP/1.1 503")
    assert steps.respond(head).startswith(b"HTTP/1.1 200")
    assert len(steps.seen.late_seconds) == 1


def test_the_tree_of_processes_begins_with_its_root(tmp_path):
    assert os.getpid() in [process.pid for process in tree(root=os.getpid(), data=tmp_path)]


@pytest.mark.cluster
@pytest.mark.slow
def test_a_quick_run_measures_everything():
    done = subprocess.run(
        [str(REPOSITORY / "script" / "bench"), "--quick"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    written = Path(done.stdout.splitlines()[-1].removeprefix("written to "))
    results = json.loads(written.read_text())["medians"]
    written.unlink()
    assert results["W3"]["flows_per_second"] > 0
    assert results["calls"]["repeated"] == 0
    assert results["memory"]["pss_mb"] > results["memory"]["pss_without_postgres_mb"] > 0
