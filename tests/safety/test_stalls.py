"""Locks that are held, tasks that kill their worker: others go on."""

from __future__ import annotations

from contextlib import closing

import pytest

from dist_task.database import connect
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from tests.engine.conftest import stored
from tests.engine.worker import wait_for
from transactions.models import Transaction

from .conftest import Scene

pytestmark = pytest.mark.cluster


def test_a_task_that_kills_its_worker_ends_as_an_exception(scene: Scene) -> None:
    scene.begin("call.before/k:*:kill", only="killer noop chain")
    scene.await_ends()
    scene.nursery.ask(do="stop")

    killer = next(name for name in scene.started if name.startswith("killer"))
    assert {name: stored(name).status for name in scene.started if name != killer} == {
        name: "success" for name in scene.started if name != killer
    }
    run = TaskRun.objects.get(transaction__instance_id=killer, task_id="k")
    assert (run.status, run.attempt) == ("failed", run.attempt_budget)
    record = ExceptionRecord.objects.get(run=run)
    assert (record.status, record.outcome) == ("open", "unknown")


def test_a_death_makes_nothing_unknown_that_was_only_claimed(scene: Scene) -> None:
    """Manual tasks of transactions that the dead worker held without an attempt in flight run as if nothing was."""
    scene.begin("claimed:1:kill;claimed:2:kill", only="manual", repeat=40, drains=1)
    scene.await_ends()
    scene.nursery.ask(do="stop")

    assert scene.judge() == []
    called = {call.instance_id for call in scene.service.calls}
    lost = set(ExceptionRecord.objects.values_list("transaction__instance_id", flat=True))
    assert called == set(scene.started), "each of them was called"
    assert lost == set(), "none was in flight"


def test_a_held_lock_delays_starts_no_longer_than_a_bound_and_heals(scene: Scene) -> None:
    with closing(connect()) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE transactions_transaction IN ACCESS EXCLUSIVE MODE")
        scene.begin()
        wait_for(lambda: scene.nursery.ask(do="look")["deaths"] >= 1, seconds=60)
        blocker.rollback()
    scene.await_ends()
    scene.nursery.ask(do="stop")

    assert scene.judge() == []
    assert Transaction.objects.count() == len(scene.started)
