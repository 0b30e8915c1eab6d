"""Several people at the same moment, each on a connection of their own; and real workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import OperationalError, connections, transaction

from dist_task.engine import operate
from dist_task.engine.four_eyes import verbs
from dist_task.engine.store.verbs import lock
from dist_task.errors import DistTaskError
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.invariants.check import verify
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.register import register
from tests.batches.conftest import ended, fail_many, make, times_done
from tests.commands import rows
from tests.engine.conftest import begin, finished, start_worker
from tests.engine.worker import WorkerThread, wait_for

from .conftest import UNDONE, ask, asked, let_time_pass, log_of, stored, undoable, undoing

__all__ = ["start_worker"]  # a fixture
pytestmark = pytest.mark.django_db(transaction=True)
Rule = Callable[..., None]
Start = Callable[[], WorkerThread]


def at_once(*acts: Callable[[], object]) -> list[str]:
    """What each was refused with, "" where it was done."""
    together = Barrier(len(acts))

    def run(act: Callable[[], object]) -> str:
        together.wait()
        try:
            act()
        except DistTaskError as error:
            return str(error)
        finally:
            connections.close_all()
        return ""

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def test_of_many_who_approve_one_wins_and_it_is_undone_once(rule: Rule) -> None:
    request = asked(undoable())

    told = at_once(
        *(lambda who=who: verbs.approve(request.pk, actor=who, remark="yes") for who in ("bo", "cleo", "dan", "eve"))
    )

    assert told.count("") == 1
    winner = stored(request).decided_by
    assert {text for text in told if text} == {f"request {request.pk} is decided already: approved by {winner}"}
    assert [entry[0] for entry in log_of()] == ["requested", "approved", "compensating"]


def test_approval_rejection_and_withdrawal_exclude_each_other(rule: Rule) -> None:
    flow = undoable()
    for number in range(6):
        request = asked(flow, f"i{number}")
        told = at_once(
            lambda pk=request.pk: verbs.approve(pk, actor="bo", remark="yes"),
            lambda pk=request.pk: verbs.reject(pk, actor="cleo", remark="no"),
            lambda pk=request.pk: verbs.withdraw(pk, actor="ana"),
        )
        assert told.count("") == 1
        is_approved = stored(request).status == "approved"
        assert undoing(f"i{number}") == ("running" if is_approved else "none")
        assert len(log_of(f"i{number}")) == (3 if is_approved else 2)


def test_of_many_who_ask_one_request_is_made(rule: Rule) -> None:
    rows.succeed_one("i1", flow=undoable())

    told = at_once(*(lambda who=who: ask(actor=who) for who in ("ana", "bo", "cleo")))

    assert told.count("") == 1
    assert all("already" in text for text in told if text)
    assert ApprovalRequest.objects.count() == 1


def test_a_retry_and_an_approval_at_once_do_not_both_happen(rule: Rule) -> None:
    flow = undoable()
    for number in range(6):
        rows.fail_one(f"i{number}", flow=flow)
        request = ask(f"i{number}")
        told = at_once(
            lambda pk=request.pk: verbs.approve(pk, actor="bo", remark="yes"),
            lambda name=f"i{number}": operate.retry_transaction(name, actor="cleo"),
        )
        assert told.count("") == 1
        assert (undoing(f"i{number}"), rows.status_of(f"i{number}")) in (("running", "failed"), ("none", "pending"))


def test_a_batch_is_approved_by_one(rule: Rule) -> None:
    fail_many(2, flow=undoable())
    batch = make()
    request = ApprovalRequest.objects.get()

    told = at_once(
        lambda: verbs.approve(request.pk, actor="bo", remark="yes"),
        lambda: verbs.approve(request.pk, actor="cleo", remark="yes"),
        lambda: verbs.withdraw(request.pk, actor="ana"),
    )

    assert told.count("") == 1
    assert batch.log.count() == 2


def test_workers_leave_alone_what_awaits_and_do_what_was_approved(rule: Rule, start_worker: Start) -> None:
    start_worker()
    flow = undoable()
    instance_id = finished(begin(flow)).instance_id
    request = ask(instance_id)
    fail_many(5, flow=rows.make_flow())
    batch = make(rows=ExceptionRecord.objects.filter(status="open"))
    quick = finished(begin(flow))  # whatever was due before is done by now

    assert (undoing(instance_id), undoing(quick.instance_id)) == ("none", "none")
    assert batch.items.exclude(status="pending").count() == 0
    verbs.approve(request.pk, actor="bo", remark="yes")
    verbs.approve(ApprovalRequest.objects.get(batch=batch).pk, actor="bo", remark="yes")

    wait_for(lambda: undoing(instance_id) == "done")
    assert ended(batch).done == 5
    assert times_done(batch, event="handled") == [1] * 5
    assert verify().violations == []


def test_a_worker_writes_off_what_nobody_approved_in_time(rule: Rule, start_worker: Start) -> None:
    request = asked(undoable())
    let_time_pass(request)
    start_worker()

    wait_for(lambda: stored(request).status == "expired")

    assert log_of()[-1] == ("expired", "system", "")


def test_a_worker_does_not_wait_long_for_a_row_that_somebody_holds(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(undoable())
    let_time_pass(request)
    monkeypatch.setattr(verbs, "LONGEST_LOCK", "100ms")

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        lock(request.transaction_id)  # type: ignore[arg-type]  # it has one
        refused = pool.submit(in_its_own_connection, verbs.expire_overdue).exception()

    assert isinstance(refused, OperationalError)
    assert verbs.expire_overdue() == 1


def in_its_own_connection(act: Callable[[], object]) -> object:
    try:
        return act()
    finally:
        connections.close_all()


def test_what_a_flow_undoes_by_itself_needs_nobody(rule: Rule, start_worker: Start) -> None:
    fails = {"id": "ship", "type": "wait", "depends_on": ["pay"], "config": {"until": "${params.nowhere}"}}
    definition = {"tasks": [UNDONE, {**fails, "retry": {"strategy": "manual"}}], "on_failure": "compensate"}
    flow = register(name="by_itself", flow_type="t", definition=definition, create_user="admin")
    start_worker()

    txn = finished(begin(flow))

    wait_for(lambda: undoing(txn.instance_id) == "done")
    assert (txn.status, ApprovalRequest.objects.count()) == ("failed", 0)


def test_an_approved_compensation_goes_down_to_what_it_has_started_without_asking_again(
    rule: Rule, start_worker: Start
) -> None:
    child = undoable()
    task = {"id": "order", "type": "subflow", "config": {"flow": child.name}}
    parent = register(name="contract", flow_type="t", definition={"tasks": [task]}, create_user="admin")
    start_worker()
    txn = finished(begin(parent))
    request = ask(txn.instance_id)

    verbs.approve(request.pk, actor="bo", remark="yes")

    wait_for(lambda: undoing(txn.instance_id) == "done")
    below = TaskRun.objects.filter(transaction__parent=txn, op="compensate", status="success")
    assert below.count() == 1
    assert ApprovalRequest.objects.count() == 1
    assert ExecutionLog.objects.filter(event="compensating", transaction__parent=txn).get().actor == "system"
