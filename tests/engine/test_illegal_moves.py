"""Every move that the tables of states.py do not have is refused, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from dist_task.engine import operate
from dist_task.engine.store import batch, verbs
from dist_task.errors import IllegalMove
from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import (
    EXCEPTION_MOVES,
    FINAL_RUN,
    FINAL_TRANSACTION,
    RUN_MOVES,
    TRANSACTION_MOVES,
    RunStatus,
)
from exceptions_app.models import ExceptionRecord
from tests.commands.rows import fail_one, make_flow
from transactions.models import Transaction

pytestmark = pytest.mark.django_db


def illegal(moves: dict[str, frozenset[str]], *, to: str) -> list[str]:
    return [status for status in moves if to not in moves[status]]


@pytest.fixture
def record() -> ExceptionRecord:
    """Of a failed transaction with one failed run; the tests put the three into other statuses."""
    return fail_one("order_1", flow=make_flow())


def put_transaction(record: ExceptionRecord, status: str) -> Transaction:
    completed_at = Now() if status in FINAL_TRANSACTION else None
    Transaction.objects.filter(pk=record.transaction_id).update(status=status, completed_at=completed_at)
    return Transaction.objects.get(pk=record.transaction_id)


def put_run(record: ExceptionRecord, status: str) -> None:
    finished_at = Now() if status in FINAL_RUN else None
    due_at = Now() if status == "pending" else None
    TaskRun.objects.filter(pk=record.run_id).update(status=status, finished_at=finished_at, due_at=due_at)


def put_exception(record: ExceptionRecord, status: str) -> None:
    handled_at = Now() if status == "handled" else None
    ExceptionRecord.objects.filter(pk=record.pk).update(status=status, handled_at=handled_at)


def statuses(record: ExceptionRecord) -> tuple[str, str, str]:
    found = ExceptionRecord.objects.select_related("transaction", "run").get(pk=record.pk)
    return found.transaction.status, found.run.status, found.status


@pytest.mark.parametrize("status", illegal(TRANSACTION_MOVES, to="pending"))
def test_only_a_failed_transaction_is_retried(record: ExceptionRecord, status: str) -> None:
    txn = put_transaction(record, status)
    before, rows = statuses(record), ExecutionLog.objects.count()

    with pytest.raises(IllegalMove):
        operate.retry_transaction(txn.instance_id, actor="ann")

    assert verbs.reopen(txn, due_at=timezone.now()) is False
    assert (statuses(record), ExecutionLog.objects.count()) == (before, rows)


@pytest.mark.parametrize("status", illegal(TRANSACTION_MOVES, to="cancelled"))
def test_what_has_ended_well_or_was_cancelled_is_not_cancelled(record: ExceptionRecord, status: str) -> None:
    txn = put_transaction(record, status)
    before, rows = statuses(record), ExecutionLog.objects.count()

    with pytest.raises(IllegalMove):
        operate.cancel_transaction(txn.instance_id, actor="ann", remark="why")

    assert (statuses(record), ExecutionLog.objects.count()) == (before, rows)


@pytest.mark.parametrize(
    ("status", "to"),
    [(status, to) for to in sorted(FINAL_TRANSACTION) for status in illegal(TRANSACTION_MOVES, to=to)],
)
def test_a_transaction_ends_from_where_it_may_end_only(record: ExceptionRecord, status: str, to: str) -> None:
    txn = put_transaction(record, status)

    with connection.cursor() as cursor:
        batch.finish(cursor, transaction_ids=[txn.pk], status=to)

    assert statuses(record)[0] == status


# Scheduling a pending run again is no move.
@pytest.mark.parametrize("status", [each for each in illegal(RUN_MOVES, to="pending") if each != "pending"])
def test_a_run_is_scheduled_again_from_where_it_may_be_only(record: ExceptionRecord, status: str) -> None:
    put_run(record, status)
    run_id = record.run_id

    assert verbs.schedule_runs(run_ids=[run_id], budgets={run_id: 9}, due_at=timezone.now()) == 0

    assert statuses(record)[1] == status


@pytest.mark.parametrize("status", illegal(RUN_MOVES, to="cancelled"))
def test_a_run_is_cancelled_from_where_it_may_be_only(record: ExceptionRecord, status: str) -> None:
    put_run(record, status)

    with connection.cursor() as cursor:
        batch.cancel_runs(cursor, transaction_ids=[record.transaction_id])

    assert statuses(record)[1] == status


@pytest.mark.parametrize("status", ["running", "waiting", "success", "skipped", "cancelled"])
def test_an_exception_whose_run_has_not_failed_is_not_retried(record: ExceptionRecord, status: str) -> None:
    put_run(record, status)
    before = statuses(record)

    with pytest.raises(IllegalMove):
        operate.retry_exception(record.pk, actor="ann")

    assert statuses(record) == before


@pytest.mark.parametrize("status", ["success", "cancelled"])
def test_an_exception_of_what_has_ended_is_not_retried(record: ExceptionRecord, status: str) -> None:
    put_transaction(record, status)
    before = statuses(record)

    with pytest.raises(IllegalMove, match="can no longer be retried"):
        operate.retry_exception(record.pk, actor="ann")

    assert statuses(record) == before


@pytest.mark.parametrize("verb", [operate.skip_run, operate.complete_run])
@pytest.mark.parametrize("status", ["running", "waiting", "success", "skipped", "cancelled"])
def test_a_run_that_has_not_failed_is_not_settled(record: ExceptionRecord, status: str, verb: Any) -> None:
    put_run(record, status)
    before, rows = statuses(record), ExecutionLog.objects.count()

    with pytest.raises(IllegalMove, match="right now"):
        verb(record.pk, actor="ann", remark="why", force=True)

    assert not verbs.settle_run(run_id=record.run_id, status=RunStatus.SKIPPED, output=None)
    assert not verbs.replace_input(run_id=record.run_id, value={})
    assert (statuses(record), ExecutionLog.objects.count()) == (before, rows)


@pytest.mark.parametrize("verb", [operate.skip_run, operate.complete_run])
@pytest.mark.parametrize("status", ["success", "cancelled"])
def test_a_run_of_what_has_ended_is_not_settled(record: ExceptionRecord, status: str, verb: Any) -> None:
    put_transaction(record, status)
    before = statuses(record)

    with pytest.raises(IllegalMove, match="can no longer be skipped or completed"):
        verb(record.pk, actor="ann", remark="why", force=True)

    assert statuses(record) == before


@pytest.mark.parametrize("status", sorted(FINAL_TRANSACTION))
def test_what_has_ended_is_not_paused(record: ExceptionRecord, status: str) -> None:
    txn = put_transaction(record, status)

    with pytest.raises(IllegalMove, match="cannot be paused"):
        operate.pause_transaction(txn.instance_id, actor="ann", remark="why")

    assert not verbs.pause(txn)
    assert not verbs.resume(txn, due_at=timezone.now())


@pytest.mark.parametrize("verb", [operate.retry_exception, operate.handle_exception])
def test_a_handled_exception_stays_handled(record: ExceptionRecord, verb: Any) -> None:
    assert illegal(EXCEPTION_MOVES, to="retrying") == ["retrying", "handled"]
    put_exception(record, "handled")
    before, rows = statuses(record), ExecutionLog.objects.count()

    with pytest.raises(IllegalMove):
        verb(record.pk, actor="ann")

    assert verbs.mark_retrying(exception_ids=[record.pk], retry_next_at=timezone.now()) == 0
    assert not verbs.mark_handled(exception_id=record.pk, actor="bob", remark="", resolution="ignored")
    assert (statuses(record), ExecutionLog.objects.count()) == (before, rows)
