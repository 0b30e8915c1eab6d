"""Workers that stand still, locks that are held, tasks that kill their worker, poison: others go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from django.db import connection
from django.utils import timezone

from campaign.workload import Kind, poison
from dist_task.database import connect
from dist_task.models import ExecutionLog, TaskRun, Worker
from exceptions_app.models import ExceptionRecord
from tests.engine.conftest import stored
from tests.engine.worker import wait_for
from transactions.models import Transaction

from .conftest import Scene

pytestmark = pytest.mark.cluster

NEVER = 1e9


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
    assert Transaction.objects.filter(parent=None).count() == len(scene.started)


def test_a_worker_that_comes_back_after_its_lease_changes_nothing(scene: Scene) -> None:
    """It stood still between the call and its record; another took over, called again, and finished."""
    stopped = stand_still_and_come_back(scene)
    wait_for(lambda: ExecutionLog.objects.filter(event="fenced").exists())
    wait_for(lambda: leases_of(stopped)[-1].lease_until > timezone.now())

    assert scene.judge() == []
    (name,) = scene.started
    events = list(ExecutionLog.objects.filter(task_id="a").order_by("id").values_list("event", "attempt"))
    assert events == [("worker_lost", 1), ("succeeded", 2), ("fenced", 1)]
    assert stored(name).status == "success"
    assert Counter(call.task_id for call in scene.service.calls) == {"a": 2, "b": 1, "c": 1}
    assert len({call.key for call in scene.service.calls if call.task_id == "a"}) == 1
    assert len(leases_of(stopped)) == 2, "it goes on under a new id"


def test_without_the_fence_the_judge_goes_red(scene: Scene) -> None:
    """The test of the tests: the very same story, with the checks of owner, attempt and revision switched off."""
    stand_still_and_come_back(scene, more_points="unfenced:*:on")
    wait_for(lambda: ExecutionLog.objects.filter(task_id="a", event__in=("succeeded", "fenced")).count() == 2)

    found = scene.judge()

    assert any("At most one success" in problem for problem in found), found


def stand_still_and_come_back(scene: Scene, *, more_points: str = "") -> int:
    """The process id of the drain. It is woken only after another has finished what it held."""
    scene.begin(f"call.after/a:1:stop;{more_points}", only="chain", wake_after=NEVER)
    scene.await_ends()
    (pid,) = scene.nursery.ask(do="look")["stopped"]
    scene.nursery.ask(do="wake")
    return pid


def leases_of(pid: int) -> list[Worker]:
    return list(Worker.objects.filter(pid=pid).order_by("pk"))


def test_poison_delays_nobody(scene: Scene) -> None:
    """Definitions that cannot be read and results that cannot be stored come first, in one batch with the others."""
    poison()
    poisoned = Kind("poisoned", [scene.http("a", "/poison")], end="failed")
    healthy = Kind("healthy", [scene.http("a"), scene.http("b", needs="a")], end="success")
    with a_database_that_refuses("poison"):
        scene.begin_with({poisoned: 5, healthy: 60})
        scene.await_ends()
    scene.nursery.ask(do="stop")

    assert scene.judge() == []
    assert Counter(call.path for call in scene.service.calls) == {"/poison": 5, "/ok": 120}, "none was called again"
    unstorable = ExceptionRecord.objects.filter(error_code="UNSTORABLE", outcome="unknown", status="open")
    assert unstorable.count() == 5
    unreadable = Transaction.objects.filter(instance_id__startswith="poison-")
    assert unreadable.filter(owner=None, completed_at=None, wake_at__gt=timezone.now()).count() == 5


@contextmanager
def a_database_that_refuses(text: str) -> Iterator[None]:
    """It does not take an output that holds this text, for a reason that no retry changes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE dist_task_taskrun ADD CONSTRAINT refused CHECK (output::text NOT LIKE %s)", [f"%{text}%"]
        )
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE dist_task_taskrun DROP CONSTRAINT refused")
