"""What operators do, on transactions that really run."""

from __future__ import annotations

import pytest

from dist_task.engine.operate import cancel_transaction, handle_exception, retry_exception, retry_transaction
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.models import ExecutionLog, StatDelta, TaskRun
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for

SLOW_RETRY = {"strategy": "auto", "max_attempts": 3, "interval": 3600}


@pytest.fixture
def failed(worker: WorkerThread, service: Service) -> Transaction:
    """A transaction whose first task failed for good."""
    service.answer("/a", Answer(400))
    return finished(begin(make_flow(http("a", service), http("b", service, "a"))))


@pytest.fixture
def retrying(worker: WorkerThread, service: Service) -> ExceptionRecord:
    """An exception whose next automatic retry is an hour away."""
    service.answer("/a", Answer(503))
    instance_id = begin(make_flow(http("a", service, retry=SLOW_RETRY), http("b", service, "a")))
    wait_for(lambda: ExceptionRecord.objects.filter(transaction__instance_id=instance_id).exists())
    wait_for(lambda: stored(instance_id).owner is None)
    return ExceptionRecord.objects.get(transaction__instance_id=instance_id)


def test_retrying_a_failed_transaction_goes_on_where_it_stopped(failed: Transaction) -> None:
    answered = retry_transaction(failed.instance_id, actor="ann", remark="service is back")

    assert answered.status == "pending"
    assert finished(failed.instance_id).status == "success"
    record = ExceptionRecord.objects.get(transaction=failed)
    assert (record.status, record.handled_by) == ("handled", "system")
    log = ExecutionLog.objects.get(transaction=failed, event="retried")
    assert (log.actor, log.message) == ("ann", "service is back")


def test_only_a_failed_transaction_can_be_retried(worker: WorkerThread) -> None:
    done = finished(begin(make_flow()))

    with pytest.raises(IllegalMove, match="only a failed transaction"):
        retry_transaction(done.instance_id, actor="ann")
    with pytest.raises(NotFound):
        retry_transaction("nobody", actor="ann")


def test_retrying_an_exception_now_lets_the_transaction_go_on(failed: Transaction) -> None:
    record = ExceptionRecord.objects.get(transaction=failed)

    retried = retry_exception(record.pk, actor="ann", delay_seconds=0)

    assert (retried.status, retried.retry_next_at is not None) == ("retrying", True)
    assert finished(failed.instance_id).status == "success"


def test_without_a_delay_the_interval_of_the_policy_is_kept(failed: Transaction) -> None:
    record = ExceptionRecord.objects.get(transaction=failed)

    retried = retry_exception(record.pk, actor="ann")

    run = TaskRun.objects.get(pk=record.run_id)
    assert retried.retry_next_at is not None and run.due_at == retried.retry_next_at
    assert 55 < (run.due_at - ExecutionLog.objects.latest("id").at).total_seconds() < 65
    assert (stored(failed.instance_id).status, run.status) == ("pending", "pending")


def test_a_retry_that_fails_again_counts_up_on_the_same_exception(failed: Transaction, service: Service) -> None:
    service.answer("/a", Answer(400))
    record = ExceptionRecord.objects.get(transaction=failed)

    retry_exception(record.pk, actor="ann", delay_seconds=0)
    wait_for(lambda: ExceptionRecord.objects.get(pk=record.pk).occurrences == 2)

    assert finished(failed.instance_id).status == "failed"
    assert ExceptionRecord.objects.get(transaction=failed).status == "open"


def test_an_automatic_retry_can_be_brought_forward(retrying: ExceptionRecord) -> None:
    assert retrying.status == "retrying"

    retry_exception(retrying.pk, actor="ann", delay_seconds=0)

    assert finished(retrying.transaction.instance_id).status == "success"


def test_handling_stops_the_retries_that_are_left(retrying: ExceptionRecord, service: Service) -> None:
    handled = handle_exception(retrying.pk, actor="ann", remark="paid by hand", resolution="fixed_externally")

    assert (handled.status, handled.handled_by, handled.remark) == ("handled", "ann", "paid by hand")
    assert finished(retrying.transaction.instance_id).status == "failed"
    assert statuses(retrying.transaction.instance_id) == {"a": "failed"}
    assert len(service.calls) == 1, "handling runs nothing"


def test_of_two_operators_one_wins_and_the_other_is_told(failed: Transaction) -> None:
    record = ExceptionRecord.objects.get(transaction=failed)
    handle_exception(record.pk, actor="ann")

    with pytest.raises(IllegalMove, match="handled by ann"):
        handle_exception(record.pk, actor="bob")
    with pytest.raises(IllegalMove, match="handled by ann"):
        retry_exception(record.pk, actor="bob")


def test_no_retry_needs_force(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(400))
    txn = finished(begin(make_flow(http("a", service, retry={"strategy": "no_retry"}))))
    record = ExceptionRecord.objects.get(transaction=txn)

    with pytest.raises(IllegalMove, match="force"):
        retry_exception(record.pk, actor="ann")
    retry_exception(record.pk, actor="ann", delay_seconds=0, force=True)

    assert finished(txn.instance_id).status == "success"


@pytest.mark.parametrize("delay", [-1, 31 * 86_400, float("nan")])
def test_a_delay_out_of_range_is_refused(failed: Transaction, delay: float) -> None:
    record = ExceptionRecord.objects.get(transaction=failed)

    with pytest.raises(InvalidRequest, match="delay"):
        retry_exception(record.pk, actor="ann", delay_seconds=delay)


def test_cancelling_what_waits_is_immediate(retrying: ExceptionRecord) -> None:
    cancelled = cancel_transaction(retrying.transaction.instance_id, actor="ann", remark="customer left")

    retrying.refresh_from_db()
    assert cancelled.status == "cancelled" and cancelled.completed_at is not None
    assert statuses(cancelled.instance_id) == {"a": "cancelled"}
    assert (retrying.status, retrying.remark) == ("handled", "The transaction was cancelled.")


def test_cancelling_lets_an_attempt_in_flight_end_and_starts_nothing(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/a")
    instance_id = begin(make_flow(http("a", service), http("b", service, "a")))
    service.began["/a"].wait(30)

    answered = cancel_transaction(instance_id, actor="ann", remark="why")
    gate.set()

    assert (answered.status, answered.cancelling) == ("running", True)
    assert finished(instance_id).status == "cancelled"
    assert statuses(instance_id) == {"a": "success"}
    assert [call.path for call in service.calls] == ["/a"]


def test_a_verb_that_comes_while_a_branch_is_in_flight_is_taken_in(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/b")
    service.answer("/a", Answer(400))
    instance_id = begin(make_flow(http("a", service), http("b", service), http("c", service, "a", "b")))
    wait_for(lambda: statuses(instance_id).get("a") == "failed")
    service.began["/b"].wait(30)

    retry_exception(ExceptionRecord.objects.get().pk, actor="ann", delay_seconds=0)
    wait_for(lambda: statuses(instance_id).get("a") == "success")
    gate.set()

    assert finished(instance_id).status == "success"
    assert len(service.calls_of("/b")) == 1


def test_a_finished_transaction_cannot_be_cancelled(worker: WorkerThread) -> None:
    done = finished(begin(make_flow()))

    with pytest.raises(IllegalMove, match="cannot be cancelled"):
        cancel_transaction(done.instance_id, actor="ann", remark="why")


def test_every_move_is_counted(failed: Transaction) -> None:
    def totals() -> tuple[int, ...]:
        rows = StatDelta.objects.filter(flow=failed.flow).values_list("created", "succeeded", "failed", "cancelled")
        return tuple(sum(column) for column in zip(*rows, strict=True))

    assert totals() == (1, 0, 1, 0)
    retry_transaction(failed.instance_id, actor="ann")
    finished(failed.instance_id)
    assert totals() == (1, 1, 0, 0)
