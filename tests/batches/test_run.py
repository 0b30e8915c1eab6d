"""Batches under real workers: large ones, paused ones, ones whose worker dies, two workers, and the rate."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.db import connection

from dist_task.batches.models import BatchItem
from dist_task.engine.batches import verbs
from exceptions_app.models import ExceptionRecord
from tests.commands import rows
from tests.engine.worker import WorkerThread, wait_for
from transactions.models import Transaction

from .conftest import ended, fail_many, make, results, stored, times_done

Start = Callable[[], WorkerThread]


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.large)])
def test_thousands_of_exceptions_are_handled_in_one_action(start_worker: Start, count: int) -> None:
    fail_many(count, flow=rows.make_flow())
    batch = make()
    start_worker()

    found = ended(batch, seconds=count / 5)

    assert (found.total, found.done, found.refused, found.failed) == (count, count, 0, 0)
    assert times_done(batch, event="handled") == [1] * count


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.large)])
def test_exceptions_that_are_retried_in_one_action_all_succeed(start_worker: Start, count: int) -> None:
    fail_many(count, flow=rows.make_flow())
    batch = make("retry", parameters={"delay": 0})
    start_worker()

    assert ended(batch, seconds=count / 5 + 60).done == count

    assert times_done(batch, event="retried") == [1] * count
    wait_for(lambda: not Transaction.objects.unfinished().exists(), seconds=count / 5 + 60)
    assert Transaction.objects.filter(status="success").count() == count


def test_pause_takes_effect_between_items_and_resume_goes_on(start_worker: Start) -> None:
    fail_many(60, flow=rows.make_flow())
    batch = make(rate=20.0)
    start_worker()
    wait_for(lambda: stored(batch).done >= 5)

    verbs.pause(batch.pk, actor="bo", remark="why")
    at_pause = stored(batch).ended
    time.sleep(1.5)

    assert stored(batch).ended == at_pause < 60
    verbs.resume(batch.pk, actor="bo", remark="why")
    assert ended(batch).done == 60
    assert times_done(batch, event="handled") == [1] * 60


def test_cancel_in_the_middle_leaves_the_rest(start_worker: Start) -> None:
    fail_many(60, flow=rows.make_flow())
    batch = make(rate=20.0)
    start_worker()
    wait_for(lambda: stored(batch).done >= 5)

    verbs.cancel(batch.pk, actor="bo", remark="why")

    found = stored(batch)
    assert (found.status, 5 <= found.done < 60) == ("cancelled", True)
    assert ExceptionRecord.objects.filter(status="handled").count() == found.done
    assert BatchItem.objects.filter(batch=batch, status="pending").count() == found.left


def test_a_worker_that_loses_its_lease_in_the_middle_repeats_nothing(start_worker: Start) -> None:
    fail_many(150, flow=rows.make_flow())
    batch = make(rate=100.0)
    first = start_worker()
    wait_for(lambda: stored(batch).done >= 20)

    assert first.drain is not None
    first.drain._main.get_loop().call_soon_threadsafe(first.drain._on_lease_lost)  # type: ignore[union-attr]
    start_worker()

    assert ended(batch).done == 150
    assert times_done(batch, event="handled") == [1] * 150


def test_a_connection_that_is_cut_in_the_middle_repeats_nothing(start_worker: Start) -> None:
    fail_many(100, flow=rows.make_flow())
    batch = make(rate=100.0)
    start_worker()
    for least in (10, 30, 50):
        wait_for(lambda least=least: stored(batch).done >= least)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND query ILIKE '%%batches_batch%%'"
            )

    assert ended(batch).done == 100
    assert times_done(batch, event="handled") == [1] * 100


def test_two_workers_share_batches_and_do_nothing_twice(start_worker: Start) -> None:
    fail_many(200, flow=rows.make_flow())
    batch = make()
    other = make("retry", target="transactions", rows=Transaction.objects.filter(status="failed"))
    for _worker in range(2):
        start_worker()

    handled, retried = ended(batch), ended(other)
    assert (handled.done + handled.refused, retried.done + retried.refused) == (200, 200)
    said = BatchItem.objects.filter(batch=batch, status="refused").values_list("message", flat=True)
    assert all("was handled by system already" in message for message in said)  # the retry came first, and succeeded
    assert times_done(batch, event="handled") == [1] * handled.done
    assert set(times_done(other, event="retried")) <= {1}


def test_the_rate_holds_for_all_workers_together(start_worker: Start) -> None:
    fail_many(13, flow=rows.make_flow())
    batch = make(rate=5.0)
    for _worker in range(2):
        start_worker()

    found = ended(batch)

    assert found.started_at is not None
    assert found.finished_at is not None
    took = (found.finished_at - found.started_at).total_seconds()
    assert took >= 2.0  # 12 pauses of 0.2 s, one of which may be made up for; slower is no fault
    assert found.done == 13


def test_a_slow_batch_does_not_hold_up_another(start_worker: Start) -> None:
    fail_many(40, flow=rows.make_flow())
    slow = make(rate=0.02)
    quick = make("retry", target="transactions", rows=Transaction.objects.filter(instance_id__in=["many-2", "many-3"]))
    start_worker()

    assert ended(quick).total == 2
    assert stored(slow).ended <= 3
    verbs.cancel(slow.pk, actor="ana", remark="why")
    assert set(results(slow).values()) <= {"done", "pending"}


def test_ordinary_work_goes_on_beside_a_batch(start_worker: Start) -> None:
    flow = rows.make_flow()
    fail_many(300, flow=flow)
    batch = make(rate=100.0)
    start_worker()
    wait_for(lambda: stored(batch).done >= 5)

    rows.start_one("ordinary", flow=flow)
    wait_for(lambda: rows.status_of("ordinary") == "success")

    assert stored(batch).status == "running"
    verbs.cancel(batch.pk, actor="ana", remark="why")
