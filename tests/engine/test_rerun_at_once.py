"""What was run again goes on in one place, whoever asks for what at the same moment."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from dist_task.engine import operate
from dist_task.engine.prune import prune
from dist_task.errors import DistTaskError, IllegalMove
from exceptions_app.models import ExceptionRecord
from tests.activity import sleeps, waits_for_a_lock
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Service
from .test_compensation import paths, undoable
from .test_rerun import PAID, REFUSED, WHY, again, chain, shipped
from .test_subflow import sub
from .test_transactions_run import http
from .worker import WorkerThread, wait_for

__all__ = ["shipped"]  # a fixture


def test_the_failed_one_can_do_nothing_any_more(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", REFUSED, PAID)
    failed = finished(begin(make_flow(*chain(service))))
    finished(again(failed, tasks=["pay"]).instance_id)
    record = ExceptionRecord.objects.get(transaction=failed)

    says = f"was run again as {failed.instance_id}:r2: go on there"
    for verb in (
        lambda: operate.retry_transaction(failed.instance_id, actor="bob"),
        lambda: operate.cancel_transaction(failed.instance_id, actor="bob", remark="why"),
        lambda: operate.skip_run(record.pk, force=True, **WHY),
        lambda: operate.complete_run(record.pk, force=True, **WHY),
        lambda: again(failed, tasks=["pay"]),
    ):
        with pytest.raises(IllegalMove, match=says):
            verb()


def test_a_child_of_the_first_one_can_do_nothing_any_more(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(http("pack", service))
    service.answer("/pack", REFUSED)
    txn = finished(begin(make_flow(sub("sub", packing))))
    child = Transaction.objects.get(parent=txn)
    finished(again(txn).instance_id)

    with pytest.raises(IllegalMove, match="run again"):
        operate.retry_transaction(child.instance_id, actor="ann")


def test_nobody_is_asked_to_repair_a_child_that_cannot_go_on(worker: WorkerThread, service: Service) -> None:
    packing = make_flow(http("pack", service))
    service.answer("/pack", REFUSED)
    txn = finished(begin(make_flow(sub("sub", make_flow(sub("deep", packing))))))
    assert ExceptionRecord.objects.unhandled().count() == 3

    new = finished(again(txn).instance_id)

    assert new.status == "success"
    assert set(ExceptionRecord.objects.values_list("resolution", "handled_by")) == {("rerun", "ann")}


def test_a_child_that_waits_for_the_rerun_of_its_parent_can_do_nothing_after_it(
    worker: WorkerThread, service: Service
) -> None:
    packing = make_flow(http("pack", service))
    service.answer("/pack", REFUSED)
    txn = finished(begin(make_flow(sub("sub", packing))))
    child = Transaction.objects.get(parent=txn)
    results: list[str] = []

    def retry() -> None:
        try:
            operate.retry_transaction(child.instance_id, actor="bob")
            results.append("done")
        except IllegalMove as error:
            results.append(str(error))
        finally:
            connections.close_all()

    thread = threading.Thread(target=retry)
    with transaction.atomic():
        new = again(txn)
        thread.start()
        wait_for(lambda: seen(waits_for_a_lock))
    thread.join()

    assert "run again" in results[0]
    assert finished(new.instance_id).status == "success"
    assert paths(service) == ["/pack", "/pack"]


def seen(by: Callable[[Any], bool]) -> bool:
    with connection.cursor() as cursor:
        return by(cursor)


def test_of_two_operators_one_runs_it_again(shipped: Transaction) -> None:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(again(shipped, tasks=["ship"], force=True).instance_id)
        except IllegalMove as error:
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(each, str) for each in results) == 1
    assert sum("go on there" in str(each) for each in results) == 5
    finished(f"{shipped.instance_id}:r2")


def test_pruning_that_has_looked_before_leaves_what_runs_again(shipped: Transaction) -> None:
    """Its statement takes a second for each row here, as it does for very many rows."""

    def slowly(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.endswith("FOR UPDATE SKIP LOCKED"):
            sql = sql.replace(" WHERE ", " WHERE pg_sleep(1) IS NOT NULL AND ", 1)
        return execute(sql, params, many, context)

    def look() -> None:
        with connection.execute_wrapper(slowly):
            prune(before=timezone.now() + timedelta(hours=1), statuses={"success"}, limit=1)
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    wait_for(lambda: seen(sleeps))
    new = again(shipped, tasks=["ship"], force=True)
    thread.join()

    assert finished(new.instance_id).rerun_of_id == stored(shipped.instance_id).pk


def test_of_a_retry_and_a_rerun_at_once_one_wins(worker: WorkerThread, service: Service) -> None:
    service.answer("/pay", REFUSED, PAID)
    failed = finished(begin(make_flow(*chain(service))))
    results: dict[str, object] = {}

    def run(name: str, verb: Any) -> None:
        try:
            verb()
            results[name] = "done"
        except IllegalMove as error:
            results[name] = str(error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(
            target=run, args=("retry", lambda: operate.retry_transaction(failed.instance_id, actor="bob"))
        ),
        threading.Thread(target=run, args=("rerun", lambda: again(failed, tasks=["pay"]))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(results.values()).count("done") == 1, results
    wait_for(lambda: not Transaction.objects.exclude(status__in=("success", "failed")).exists())
    assert len(service.calls_of("/pay")) == 2


@pytest.mark.parametrize("seed", range(3))
def test_whatever_people_do_at_once_with_children_the_invariants_hold(
    worker: WorkerThread, service: Service, seed: int
) -> None:
    """They are verified at the end, as after each test here."""
    packing = sub("pack", make_flow(undoable("pack", service)), "order", compensate={})
    flow = make_flow(undoable("order", service), packing, http("ship", service, "pack"))
    service.answer("/pack", *[REFUSED, PAID] * 3)
    for _ in range(6):
        finished(begin(flow))
    errors: list[BaseException] = []

    def person(number: int) -> None:
        chance = random.Random(seed * 100 + number)
        try:
            for _ in range(25):
                _do_something(chance)
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    people = [threading.Thread(target=person, args=(number,)) for number in range(4)]
    for each_one in people:
        each_one.start()
    for each_one in people:
        each_one.join()

    assert errors == []
    wait_for(lambda: not Transaction.objects.unfinished().exists(), seconds=60)
    wait_for(lambda: not Transaction.objects.filter(compensation="running").exists(), seconds=60)
    assert Transaction.objects.filter(rerun_of__isnull=False).exists()


def _do_something(chance: random.Random) -> None:
    instance_id = chance.choice(list(Transaction.objects.values_list("instance_id", flat=True)))
    records = ExceptionRecord.objects.filter(transaction__instance_id=instance_id).values_list("pk", flat=True)
    tasks = chance.choice([[], ["pack"], ["ship"]])
    verbs: list[Callable[[], object]] = [
        lambda: operate.rerun_transaction(instance_id, tasks=tasks, force=True, **WHY),
        lambda: operate.rerun_transaction(instance_id, tasks=tasks, **WHY),
        lambda: operate.retry_transaction(instance_id, actor="ann"),
        lambda: operate.compensate_transaction(instance_id, actor="ann", remark="why"),
        lambda: operate.cancel_transaction(instance_id, actor="ann", remark="why"),
    ]
    for pk in records:
        verbs.append(partial(operate.skip_run, pk, force=True, **WHY))
        verbs.append(partial(operate.retry_exception, pk, actor="ann", delay_seconds=0, force=True))
    with suppress(DistTaskError):
        chance.choice(verbs)()
