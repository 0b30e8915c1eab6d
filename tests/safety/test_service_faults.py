"""The whole service, supervised, under load: whatever is killed, locked, restarted or away, work goes on by itself."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from campaign.clusters import children, is_alive
from dist_task.embedded.remove import remove
from tests.house.conftest import processes_of, until

from .stage import LEASE_SECONDS, Stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
WIDE_SECONDS = 30.0
"""Three are promised on a machine that has nothing else to do; the tests print what they saw."""


@pytest.fixture(scope="module")
def shared_stage() -> Iterator[Stage]:
    home = Path(tempfile.mkdtemp(prefix="stage-"))
    home.chmod(0o711)  # the database's own user passes through
    stage = Stage(home / "var")
    yield stage
    stage.close()
    until(lambda: not processes_of(home), seconds=WIDE_SECONDS)
    remove(home / "var")
    shutil.rmtree(home)


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    """Every story begins with two drains that live, and ends with nothing lost, nothing repeated, every rule kept."""
    shared_stage.until_cluster_works()
    yield shared_stage
    shared_stage.service.let_go()
    shared_stage.quiet()
    assert shared_stage.judge() == []


def fresh_cluster(stage: Stage) -> None:
    old = stage.cluster()
    os.kill(old, signal.SIGTERM)
    stage.until_cluster_works(but=old)


def given_up(stage: Stage, *, since: Counter[str]) -> dict[str, int]:
    """What only the death of a worker may bring about."""
    events = stage.events() - since
    return {name: events[name] for name in ("worker_lost", "rescued", "fenced", "parked") if events[name]}


def until_work_goes_on(stage: Stage) -> float:
    """The seconds from a start to its call."""
    began_at, instance_id = time.monotonic(), stage.start("chain")
    until(lambda: any(call.instance_id == instance_id for call in stage.service.calls))
    return min(call.began_at for call in stage.service.calls if call.instance_id == instance_id) - began_at


def until_all_are_gone(pids: list[int]) -> None:
    until(lambda: not any(map(is_alive, pids)), seconds=WIDE_SECONDS)


def test_work_goes_on_whatever_part_of_the_cluster_is_killed(stage: Stage) -> None:
    fresh_cluster(stage)
    parts = stage.parts()
    seen = {}
    with stage.load("chain", "slow", "noop"):
        for name, pid in {"pusher": parts.pusher, "monitor": parts.monitor, "drain": parts.drains[0]}.items():
            os.kill(pid, signal.SIGKILL)
            seen[name] = until_work_goes_on(stage)
        stage.until_cluster_works()
        for name in ("sentinel", "main"):
            main, sentinel = stage.cluster(), stage.sentinel()
            family = [main, sentinel, *children(sentinel)]
            killed_at = time.monotonic()
            os.kill({"sentinel": sentinel, "main": main}[name], signal.SIGKILL)
            until_all_are_gone(family)
            until_work_goes_on(stage)
            seen[name] = time.monotonic() - killed_at
            stage.until_cluster_works(but=main)

    print("seconds until the next call:", {name: round(seconds, 2) for name, seconds in seen.items()})  # noqa: T201
    assert max(seen.values()) < WIDE_SECONDS, seen


@pytest.mark.matrix
def test_idle_drains_that_are_killed_leave_a_service_that_works(stage: Stage) -> None:
    """One of them may hold a lock of the queue; then the cluster hangs, and is started anew."""
    for pid in stage.drains():
        os.kill(pid, signal.SIGKILL)

    assert until_work_goes_on(stage) < WIDE_SECONDS


def test_a_database_that_restarts_again_and_again_loses_and_repeats_nothing(stage: Stage) -> None:
    before = stage.events()
    with stage.load("chain", "slow", "flaky"):
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            os.kill(stage.postmaster(), number)
            until(stage.postmaster)
            stage.seconds_to_next_call(time.monotonic())
            time.sleep(1.0)

    stage.quiet()
    assert given_up(stage, since=before) == {}


@pytest.mark.matrix
def test_an_outage_longer_than_the_lease_expires_nobodys_work(stage: Stage) -> None:
    before = stage.events()
    stage.service.hold()
    names = [stage.start(kind) for kind in ("slow", "manual", "chain") * 3]
    until(lambda: stage.service.in_flight == 9)

    keeper = stage.keeper()
    os.kill(keeper, signal.SIGSTOP)
    os.kill(stage.postmaster(), signal.SIGKILL)
    time.sleep(LEASE_SECONDS)
    stage.service.let_go()
    time.sleep(1.5 * LEASE_SECONDS)
    os.kill(keeper, signal.SIGCONT)
    until(stage.postmaster)

    stage.quiet()
    assert given_up(stage, since=before) == {}
    assert {stage.status_of(name) for name in names} == {"success"}


def test_locked_tables_are_answered_with_503_and_nothing_is_lost_afterwards(stage: Stage) -> None:
    tables = "transactions_transaction, dist_task_taskrun, dist_task_worker"
    with stage.load("chain", "slow"), closing(stage.connect()) as blocker, blocker.cursor() as cursor:
        stage.seconds_to_next_call(time.monotonic())
        cursor.execute(f"BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")

        start = {"instance_id": "locked_out", "flow_id": stage.flow_id("noop")}
        with ThreadPoolExecutor() as pool:
            asked = {
                "start": pool.submit(stage.client.ask, "POST", "/api/v1/transactions", start),
                "show": pool.submit(stage.client.ask, "GET", "/api/v1/transactions/nobody"),
                "ready": pool.submit(stage.client.ask, "GET", "/readyz"),
                "alive": pool.submit(stage.client.ask, "GET", "/livez"),
            }
            answers = {name: future.result() for name, future in asked.items()}
        cursor.execute("ROLLBACK")
        stage.seconds_to_next_call(time.monotonic())

    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == {"start": 503, "show": 503, "ready": 503, "alive": 200}
    assert max(answer.seconds for answer in answers.values()) < WIDE_SECONDS
    assert "error_id" in answers["start"].body["data"]
    assert stage.query("SELECT count(*) FROM transactions_transaction WHERE instance_id = 'locked_out'") == [(0,)]


def test_two_clusters_are_restarted_one_after_the_other_and_nobody_notices(stage: Stage) -> None:
    before, exceptions = stage.events(), stage.exceptions()
    second = stage.second_cluster()
    second.ensure()
    until(lambda: len(stage.drains()) == 4)
    with stage.load("chain", "slow", "manual"):
        first = stage.cluster()
        os.kill(first, signal.SIGTERM)
        until(lambda: not is_alive(first), seconds=WIDE_SECONDS)
        stage.until_cluster_works(but=first)
        assert second.stop(seconds=WIDE_SECONDS)
        second.ensure()
        until(lambda: len(stage.drains()) == 4)
        stage.seconds_to_next_call(time.monotonic())
    stage.quiet()
    assert second.stop(seconds=WIDE_SECONDS)

    assert given_up(stage, since=before) == {}
    assert stage.exceptions() == exceptions


@pytest.mark.matrix
def test_sigterm_hands_back_a_call_that_does_not_end(stage: Stage) -> None:
    stage.service.hold()
    name = stage.start("slow")
    until(lambda: stage.service.in_flight == 2)
    told, told_at = stage.cluster(), time.monotonic()

    os.kill(told, signal.SIGTERM)
    until(lambda: not is_alive(told))
    seconds = time.monotonic() - told_at
    until(lambda: stage.service.in_flight == 4)
    stage.service.let_go()
    stage.quiet()

    print(f"seconds until a cluster with a call in flight ended: {seconds:.2f}")  # noqa: T201
    assert seconds < WIDE_SECONDS
    assert stage.status_of(name) == "success"
    keys = [call.key for call in stage.service.calls if call.instance_id == name and call.path == "/slow"]
    assert (len(keys), len(set(keys))) == (4, 2), "both calls were made anew, under their keys"
