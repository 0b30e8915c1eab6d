"""Leases, fences and the group commit, on the database itself."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection

from dist_task.database import connect
from dist_task.engine import operate
from dist_task.engine.drain import Drain
from dist_task.engine.rescue import report_deaths, rescue
from dist_task.engine.store import claims, counts, leases, statements
from dist_task.engine.store.batch import Begun, Ended, Write, Written
from dist_task.models import ExecutionLog, StatDelta, StatRollup, TaskRun, Worker
from exceptions_app.models import ExceptionRecord
from tests.recording import claim, look, record, send
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Service
from .test_transactions_run import http
from .worker import WorkerThread, wait_for

NOOP = {"id": "a", "type": "noop"}
SUCCESS = Ended("a", attempt=1, status="success", event="succeeded", output={"ok": 1})
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cursor() -> Iterator[Any]:
    with closing(connect(autocommit=True)) as raw, raw.cursor() as cursor:
        yield cursor


def register(cursor: Any, *, lease_seconds: float = 60) -> int:
    return leases.register(cursor, cluster="test", host="elsewhere", pid=1, lease_seconds=lease_seconds)


def end_lease(worker_id: int) -> None:
    Worker.objects.filter(pk=worker_id).update(lease_until="2020-01-01T00:00Z")


def claimed_by(cursor: Any, worker_id: int) -> list[str]:
    return [each.instance_id for each in claim(worker_id=worker_id, limit=100)]


def write(txn: Transaction, **what: Any) -> Write:
    return Write(txn.pk, revision=what.pop("revision", txn.revision), **what)


def started_run(cursor: Any, worker_id: int) -> Transaction:
    """A transaction that this worker holds, with attempt 1 of its task in flight."""
    txn = stored(begin(make_flow(NOOP)))
    claimed_by(cursor, worker_id)
    begun = write(txn, begun=[Begun("a", attempt=1, budget=1, input={})])
    assert record(begun, worker_id=worker_id) == [Written()]
    return txn


def test_what_one_worker_claims_another_does_not_get(cursor: Any) -> None:
    first, second = register(cursor), register(cursor)
    instance_id = begin(make_flow(NOOP))

    assert claimed_by(cursor, first) == [instance_id]
    assert claimed_by(cursor, second) == []
    assert (stored(instance_id).owner, stored(instance_id).status) == (first, "running")


def test_a_worker_without_a_living_lease_claims_nothing_and_never_renews(cursor: Any) -> None:
    worker_id = register(cursor)
    begin(make_flow(NOOP))
    end_lease(worker_id)

    assert claimed_by(cursor, worker_id) == []
    assert not leases.renew(cursor, worker_id=worker_id, lease_seconds=60)


def test_what_is_not_due_is_not_claimed_but_announced(cursor: Any) -> None:
    worker_id = register(cursor)
    txn = stored(begin(make_flow(NOOP)))
    cursor.execute("UPDATE transactions_transaction SET wake_at = now() + interval '1 hour' WHERE id = %s", [txn.pk])

    claimed, due_in_seconds = look(worker_id=worker_id, limit=10)

    assert claimed == []
    assert due_in_seconds is not None and 3_500 < due_in_seconds <= 3_600


def test_a_late_result_of_a_stale_worker_changes_nothing_but_the_log(cursor: Any) -> None:
    stale, living = register(cursor), register(cursor)
    txn = started_run(cursor, stale)
    end_lease(stale)
    assert rescue() == 1
    assert claimed_by(cursor, living) == [txn.instance_id]

    late = record(write(txn, ended=[SUCCESS], release=True, finish="success"), worker_id=stale)

    assert late == [Written(fenced=True, stale=True)]
    assert TaskRun.objects.get(transaction=txn).status == "running"
    assert stored(txn.instance_id).status == "running"
    assert list(ExecutionLog.objects.filter(transaction=txn).values_list("event", flat=True)) == ["rescued", "fenced"]


def test_a_late_result_is_logged_as_that_of_its_item_and_direction(cursor: Any) -> None:
    stale = register(cursor)
    txn = started_run(cursor, stale)
    end_lease(stale)
    assert rescue() == 1

    record(write(txn, ended=[SUCCESS._replace(op="compensate", item=3)]), worker_id=stale)

    late = ExecutionLog.objects.get(transaction=txn, event="fenced")
    assert (late.op, late.item) == ("compensate", 3)


def test_a_success_leaves_nothing_of_the_wait_before_it(cursor: Any) -> None:
    worker_id = register(cursor)
    txn = started_run(cursor, worker_id)
    waits = Ended("a", attempt=1, status="waiting", event="waiting", waits_for="service", delay_seconds=60.0)
    record(write(txn, ended=[waits]), worker_id=worker_id)
    run = TaskRun.objects.get(transaction=txn)
    assert (run.status, run.waits_for, run.finished_at) == ("waiting", "service", None)
    assert run.due_at is not None

    record(write(txn, ended=[SUCCESS._replace(response={"status": 200})]), worker_id=worker_id)

    run.refresh_from_db()
    assert (run.status, run.waits_for, run.due_at, run.output) == ("success", "", None, {"ok": 1})
    assert run.started_at is not None and run.finished_at is not None and run.finished_at >= run.started_at
    assert ExecutionLog.objects.get(transaction=txn, event="succeeded").response == {"status": 200}


def test_a_result_is_written_once(cursor: Any) -> None:
    worker_id = register(cursor)
    txn = started_run(cursor, worker_id)

    first = record(write(txn, ended=[SUCCESS]), worker_id=worker_id)
    again = record(write(txn, ended=[SUCCESS]), worker_id=worker_id)

    assert (first, again) == ([Written()], [Written(stale=True)])
    assert ExecutionLog.objects.filter(transaction=txn, event="succeeded").count() == 1


def test_a_batch_that_is_sent_again_does_nothing(cursor: Any) -> None:
    worker_id = register(cursor)
    txn = started_run(cursor, worker_id)
    writes = [write(txn, ended=[SUCCESS], release=True, finish="success")]

    first = send(*writes, worker_id=worker_id, number=2)
    again = send(*writes, worker_id=worker_id, number=2)

    assert (first, again) == ([Written()], [Written(stale=True)])
    assert ExecutionLog.objects.filter(transaction=txn).count() == 1
    assert claims.reload(cursor, worker_id=worker_id, transaction_id=txn.pk) is None


def test_a_raised_revision_keeps_results_and_refuses_starts_and_the_end(cursor: Any) -> None:
    worker_id = register(cursor)
    txn = started_run(cursor, worker_id)
    Transaction.objects.filter(pk=txn.pk).update(revision=7)

    written = record(
        write(txn, ended=[SUCCESS], begun=[Begun("b", attempt=1, budget=1, input={})]), worker_id=worker_id
    )

    assert written == [Written(stale=True)]
    assert list(TaskRun.objects.filter(transaction=txn).values_list("task_id", "status")) == [("a", "success")]


def test_an_attempt_does_not_begin_twice(cursor: Any) -> None:
    worker_id = register(cursor)
    txn = started_run(cursor, worker_id)
    begun = [Begun("a", attempt=1, budget=1, input={})]

    assert record(write(txn, begun=begun), worker_id=worker_id) == [Written(stale=True)]


def test_an_attempt_that_a_dead_worker_left_is_unknown_and_not_repeated(cursor: Any, start_worker: Any) -> None:
    dead = register(cursor)
    txn = started_run(cursor, dead)
    end_lease(dead)
    rescue()

    start_worker()

    assert finished(txn.instance_id).status == "failed"
    record = ExceptionRecord.objects.get(transaction=txn)
    assert (record.status, record.outcome, record.error_code) == ("open", "unknown", "WORKER_LOST")
    assert TaskRun.objects.get(transaction=txn).maybe_executed


def test_a_reported_death_gives_back_at_once(cursor: Any) -> None:
    worker_id = register(cursor, lease_seconds=3_600)
    instance_id = begin(make_flow(NOOP))
    claimed_by(cursor, worker_id)

    assert report_deaths([worker_id]) == 1

    assert stored(instance_id).owner is None
    assert not leases.renew(cursor, worker_id=worker_id, lease_seconds=60)


def test_the_living_are_not_rescued_from(cursor: Any) -> None:
    begin(make_flow(NOOP))
    claimed_by(cursor, register(cursor))

    assert rescue() == 0


def test_a_worker_that_loses_its_lease_drops_its_work_and_another_goes_on(start_worker: Any, service: Service) -> None:
    gate = service.hold("/a")
    retry = {"strategy": "auto", "max_attempts": 3, "interval": 0}
    first: WorkerThread = start_worker()
    instance_id = begin(make_flow(http("a", service, retry=retry)))
    service.began["/a"].wait(30)

    end_lease(stored(instance_id).owner or 0)
    wait_for(lambda: first.error is not None)
    rescue()
    gate.set()
    start_worker()

    assert finished(instance_id).status == "success"
    assert TaskRun.objects.get(transaction__instance_id=instance_id).attempt == 2
    assert len({call.headers["idempotency-key"] for call in service.calls}) == 1


def test_a_result_that_comes_after_a_rescue_is_refused_and_logged(worker: WorkerThread, service: Service) -> None:
    """The worker does not know yet that it was taken for dead."""
    gate = service.hold("/a")
    instance_id = begin(make_flow(http("a", service)))
    service.began["/a"].wait(30)

    report_deaths([stored(instance_id).owner or 0])
    gate.set()

    fenced = ExecutionLog.objects.filter(transaction__instance_id=instance_id, event="fenced")
    wait_for(fenced.exists)
    assert fenced.get().response["status"] == 200, "the call was made, and its answer is kept"
    assert TaskRun.objects.get(transaction__instance_id=instance_id).status == "running"


@pytest.fixture
def late_claims(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What a claim has found in hand is looked at only once it was let go; tells how many that were."""
    seen: list[int] = []
    take_all = Drain._take_all

    async def late(drain: Drain, claimed: list[Any], runs: list[Any]) -> None:
        held = [each.transaction_id for each in claimed if each.transaction_id in drain._hands]
        seen.extend(held)
        deadline = time.monotonic() + 30
        while any(each in drain._hands for each in held) and time.monotonic() < deadline:
            await asyncio.sleep(0.002)
        await take_all(drain, claimed, runs)

    monkeypatch.setattr(Drain, "_take_all", late)
    return seen


def test_what_was_let_go_while_a_claim_was_under_way_is_not_taken_up_as_it_stood_before(
    late_claims: list[int], worker: WorkerThread, service: Service
) -> None:
    """A verb wakes a transaction in hand, so that the next claim finds it with its runs in flight; then these end, are
    recorded, and the transaction is released. Their calls would be made again."""
    gate = service.hold("/a")
    instance_id = begin(make_flow(http("a", service), http("b", service), http("c", service, "a", "b")))
    wait_for(service.began["/a"].is_set)
    operate.pause_transaction(instance_id, actor="ann", remark="the bank is down")
    wait_for(lambda: late_claims)

    gate.set()
    wait_for(lambda: stored(instance_id).owner is None)
    operate.resume_transaction(instance_id, actor="ann", remark="the bank is back")

    assert finished(instance_id).status == "success"
    assert Counter(call.path for call in service.calls) == {"/a": 1, "/b": 1, "/c": 1}


def test_results_survive_connections_that_are_cut_under_the_worker(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    flow = make_flow(http("a", service), http("b", service, "a"))
    ids = [begin(flow) for _ in range(10)]
    wait_for(lambda: TaskRun.objects.filter(status="running").count() == 10)

    cut = connect(autocommit=True)
    with cut.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
            [connection.connection.info.backend_pid],
        )
    cut.close()
    gate.set()

    assert {finished(instance_id).status for instance_id in ids} == {"success"}
    assert len(service.calls) == 20, "no call was repeated because its record got lost"


def test_a_transaction_that_the_engine_cannot_read_is_put_aside_and_delays_nobody(worker: WorkerThread) -> None:
    broken = make_flow(NOOP)
    type(broken).objects.filter(pk=broken.pk).update(definition="not json")
    poison = begin(broken)

    healthy = begin(make_flow(NOOP))

    assert finished(healthy).status == "success"
    wait_for(lambda: ExecutionLog.objects.filter(event="parked").exists())
    assert stored(poison).owner is None
    assert stored(poison).wake_at is not None, "it is looked at again"


def test_folding_keeps_the_sums(cursor: Any) -> None:
    flow = make_flow(NOOP)
    for _ in range(3):
        begin(flow)

    counts.fold(cursor)
    begin(flow)
    counts.fold(cursor)

    assert StatDelta.objects.count() == 0
    assert sum(StatRollup.objects.filter(flow=flow).values_list("created", flat=True)) == 4


def test_a_claim_planned_for_an_empty_table_serves_a_full_one(cursor: Any) -> None:
    """It walks the index of what is due as far as it takes; it does not gather all that is due, and sort that."""
    for sql in (*statements.SETTINGS, *statements.HOT):
        cursor.execute(sql)

    cursor.execute(f"EXPLAIN {claims.EXECUTE_CLAIM}", claims.claim_parameters(worker_id=1, limit=10, look_ahead=True))

    plan = "\n".join(row[0] for row in cursor.fetchall())
    assert plan.count("Index Scan using transaction_due") == 2
    assert "Bitmap" not in plan
