"""Verbs of people upon a transaction and what it has started, while either is at something."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.db import connections
from django.db.models.functions import Now

from dist_task.database import connect
from dist_task.engine import children, operate
from dist_task.errors import ExecutionError, IllegalMove
from dist_task.executors.base import TaskCall
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from tests.activity import waits_for_a_lock
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Service
from .test_compensation import compensated, paths, undoable
from .test_subflow import REFUSED, child_of, sub
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for


def test_a_failed_one_is_cancelled_at_once_even_if_its_parent_was_not_told_yet(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/book", REFUSED)
    worker.drain._tell_parents = lambda child_ids: None
    instance_id = begin(make_flow(sub("ship", make_flow(http("book", service)))))
    wait_for(lambda: Transaction.objects.filter(parent__instance_id=instance_id, status="failed").exists())

    operate.cancel_transaction(child_of(instance_id).instance_id, actor="ada", remark="why")

    child = child_of(instance_id)
    assert (child.status, child.cancelling, child.owes_parent) == ("cancelled", False, True)
    del worker.drain._tell_parents
    assert finished(instance_id).status == "failed"
    assert TaskRun.objects.get(transaction__instance_id=instance_id).error_code == "CHILD_CANCELLED"


def test_cancelling_leaves_one_that_undoes_itself_to_that(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/undo-a")
    service.answer("/b", REFUSED)
    service.answer("/undo-a", REFUSED)
    ship = make_flow(undoable("a", service), http("b", service, "a"), on_failure="compensate")
    instance_id = begin(make_flow(sub("ship", ship)))
    wait_for(lambda: service.in_progress["/undo-a"] == 1)

    operate.cancel_transaction(instance_id, actor="ada", remark="why")
    gate.set()

    assert finished(instance_id).status == "cancelled"
    child = child_of(instance_id)
    assert (child.status, child.compensation, child.cancelling) == ("failed", "failed", False)
    operate.compensate_transaction(instance_id, actor="ada", remark="why")
    assert compensated(instance_id) == "done", "the second time it could be undone"
    assert paths(service).count("/undo-a") >= 2


def test_cancelling_reaches_what_is_started_at_that_moment(transactional_db: None) -> None:
    """`middle` is about to start `deep`, in a database transaction that the cancel has to wait for."""
    flow = make_flow({"id": "a", "type": "approval", "config": {}})
    top, middle, deep = (Transaction.objects.get(instance_id=begin(flow)) for _ in range(3))
    Transaction.objects.filter(pk=middle.pk).update(parent=top)
    starting = connect()
    cursor = starting.cursor()
    cursor.execute("SELECT FROM transactions_transaction WHERE id = %s FOR NO KEY UPDATE", (middle.pk,))
    cursor.execute("UPDATE transactions_transaction SET parent_id = %s WHERE id = %s", (middle.pk, deep.pk))

    def cancel() -> None:
        operate.cancel_transaction(top.instance_id, actor="ada", remark="why")
        connections.close_all()

    person = threading.Thread(target=cancel)
    person.start()
    wait_for(lambda: waits_for_a_lock(cursor))
    starting.commit()
    person.join()
    starting.close()

    asked = Transaction.objects.filter(pk__in=(middle.pk, deep.pk), cancelling=True)
    assert asked.count() == 2


def test_one_whose_parent_was_undone_is_not_retried(worker: WorkerThread, service: Service) -> None:
    service.answer("/book", REFUSED)
    tasks = undoable("pay", service), sub("ship", make_flow(http("book", service)), "pay")
    txn = finished(begin(make_flow(*tasks, on_failure="compensate")))
    assert txn.compensation == "done"
    child = child_of(txn.instance_id)

    for retry in (
        lambda: operate.retry_exception(ExceptionRecord.objects.get(transaction=child).pk, actor="ada"),
        lambda: operate.retry_transaction(child.instance_id, actor="ada"),
    ):
        with pytest.raises(IllegalMove, match=f"{txn.instance_id} has started it"):
            retry()

    assert paths(service) == ["/pay", "/book", "/undo-pay"]


def test_one_that_is_retried_while_its_parent_goes_on_is_undone_with_it(worker: WorkerThread, service: Service) -> None:
    """At first it had done nothing that was to be undone."""
    service.answer("/book", REFUSED)
    service.answer("/other", REFUSED)
    gate = service.hold("/other")
    ask = {"id": "ask", "type": "approval", "config": {}, "depends_on": ["book"]}
    ship = make_flow(undoable("book", service), ask)
    instance_id = begin(make_flow(sub("ship", ship), http("other", service), on_failure="compensate"))
    wait_for(lambda: statuses(instance_id).get("ship") == "failed")

    operate.retry_transaction(child_of(instance_id).instance_id, actor="ada")
    wait_for(lambda: TaskRun.objects.filter(waits_for="approval").exists())
    gate.set()

    assert finished(instance_id).compensation == "done"
    child = child_of(instance_id)
    assert (child.status, child.compensation) == ("cancelled", "done")
    assert [path for path in paths(service) if path != "/other"] == ["/book", "/book", "/undo-book"]


def test_an_attempt_that_is_made_again_after_a_crash_takes_the_answer_that_came_meanwhile(
    worker: WorkerThread, service: Service
) -> None:
    """The dead had asked for it, it failed again and said so: nobody has asked for a third attempt."""
    service.answer("/book", REFUSED)
    txn = finished(begin(make_flow(sub("ship", make_flow(http("book", service))))))
    wait_for(lambda: not child_of(txn.instance_id).owes_parent)
    answer = {"ok": False, "code": "CHILD_FAILED", "message": "", "unknown": False}
    TaskRun.objects.filter(transaction=txn).update(status="running", finished_at=None, answer=answer)
    Transaction.objects.filter(pk=txn.pk).update(owner=4711)
    call = TaskCall(txn.instance_id, "ship", "action", -1, 2, {"flow": "x"}, {}, 1.0)

    with pytest.raises(ExecutionError, match="failed"):
        children.ask(call, transaction_id=txn.pk, worker_id=4711)

    assert (child_of(txn.instance_id).status, paths(service)) == ("failed", ["/book"])
    TaskRun.objects.filter(transaction=txn).update(status="failed", finished_at=Now(), answer=None)
    Transaction.objects.filter(pk=txn.pk).update(owner=None)


def test_a_child_repaired_while_its_parent_is_to_try_again_is_undone_with_it(
    start_worker: Callable[[], WorkerThread], service: Service
) -> None:
    """Both were retried, and before the parent has come to ask its child again, its task was skipped."""
    first = start_worker()
    service.answer("/pack", REFUSED)
    parent = finished(begin(make_flow(sub("sub", make_flow(undoable("pack", service)), compensate={}))))
    child = child_of(parent.instance_id)
    first.stop()
    operate.retry_transaction(parent.instance_id, actor="ann")
    operate.retry_transaction(child.instance_id, actor="ann")
    record = ExceptionRecord.objects.get(transaction=parent)

    with pytest.raises(IllegalMove, match="may have been executed"):
        operate.skip_run(record.pk, actor="ann", remark="we do without")
    operate.skip_run(record.pk, actor="ann", remark="we do without", force=True)
    start_worker()
    finished(parent.instance_id)
    wait_for(lambda: stored(child.instance_id).status == "success")
    operate.compensate_transaction(parent.instance_id, actor="ann", remark="why")

    assert compensated(parent.instance_id) == "done"
    assert stored(child.instance_id).compensation == "done"
