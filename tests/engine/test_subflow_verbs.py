"""Verbs of people upon a transaction and what it has started, while either is at something."""

from __future__ import annotations

import threading

import psycopg2
from django.db import connections

from dist_task.database import connect
from dist_task.engine import operate
from dist_task.models import TaskRun
from transactions.models import Transaction

from .conftest import begin, finished, make_flow
from .service import Service
from .test_compensation import compensated, paths, undoable
from .test_subflow import REFUSED, child_of, sub
from .test_transactions_run import http
from .worker import WorkerThread, wait_for


def test_a_failed_one_is_cancelled_at_once_even_if_its_parent_was_not_told_yet(
    worker: WorkerThread, service: Service
) -> None:
    service.answer("/book", REFUSED)
    worker.drain._tell_parents = lambda child_ids: None
    instance_id = begin(make_flow(sub("ship", make_flow(http("book", service)))))
    wait_for(lambda: Transaction.objects.filter(parent__instance_id=instance_id, status="failed").exists())

    operate.cancel_transaction(child_of(instance_id).instance_id, actor="ada")

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

    operate.cancel_transaction(instance_id, actor="ada")
    gate.set()

    assert finished(instance_id).status == "cancelled"
    child = child_of(instance_id)
    assert (child.status, child.compensation, child.cancelling) == ("failed", "failed", False)
    operate.compensate_transaction(instance_id, actor="ada")
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
        operate.cancel_transaction(top.instance_id, actor="ada")
        connections.close_all()

    person = threading.Thread(target=cancel)
    person.start()
    wait_for(lambda: _waits_for_a_lock(cursor))
    starting.commit()
    person.join()
    starting.close()

    asked = Transaction.objects.filter(pk__in=(middle.pk, deep.pk), cancelling=True)
    assert asked.count() == 2


def _waits_for_a_lock(cursor: psycopg2.extensions.cursor) -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return bool(cursor.fetchone()[0])
