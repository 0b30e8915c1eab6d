"""Many failed transactions with their open exceptions, and the few words that these tests are written in."""

from __future__ import annotations

from typing import Any

from django.db import connection

from dist_task.batches.models import Batch, BatchItem
from dist_task.batches.words import FINAL_BATCH
from dist_task.engine.batches import verbs
from dist_task.engine.batches.run import run_next
from dist_task.models import ExecutionLog
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.engine.conftest import start_worker
from tests.engine.worker import wait_for

__all__ = ["start_worker"]  # a fixture
FASTEST = 1_000.0
MANY_FAILED = """
    WITH txn AS (
        INSERT INTO transactions_transaction
            (instance_id, flow_id, status, params, wake_at, created_at, started_at, completed_at)
        SELECT 'many-' || n, %(flow)s, 'failed', '{}', NULL, now(), now(), now() FROM generate_series(1, %(count)s) n
        RETURNING id
    ), run AS (
        INSERT INTO dist_task_taskrun
            (transaction_id, task_id, op, item, status, attempt, attempt_budget, started_at, finished_at)
        SELECT id, 'pay', 'action', -1, 'failed', 1, 1, now(), now() FROM txn RETURNING id, transaction_id
    ), counted AS (
        INSERT INTO dist_task_statdelta (flow_id, bucket, created, failed)
        VALUES (%(flow)s, date_bin('15 minutes', now(), 'epoch'), %(count)s, %(count)s)
    ), logged AS (
        INSERT INTO dist_task_executionlog (transaction_id, task_id, op, attempt, event, started_at)
        SELECT transaction_id, 'pay', 'action', 1, 'failed', now() FROM run
    )
    INSERT INTO exceptions_app_exceptionrecord (transaction_id, run_id, flow_id, task_id, op, item, task_name, status,
        error_code, error_message, outcome, fingerprint)
    SELECT transaction_id, id, %(flow)s, 'pay', 'action', -1, 'Pay', 'open', 'TIMEOUT', 'no answer', 'terminal', 'f1'
    FROM run
"""


def fail_many(count: int, *, flow: Flow) -> None:
    """As the engine would have left them."""
    with connection.cursor() as cursor:
        cursor.execute(MANY_FAILED, {"flow": flow.pk, "count": count})
        cursor.execute("ANALYZE")


def make(verb: str = "handle", *, target: str = "exceptions", rows: Any = None, **values: Any) -> Batch:
    """Over all open exceptions where no rows are named."""
    chosen = ExceptionRecord.objects.filter(status="open") if rows is None else rows
    about = {"parameters": {}, "selection": {}, "remark": "the bank is back", "actor": "ana", "rate": FASTEST}
    return verbs.create(chosen, target=target, verb=verb, **{**about, **values})


def run_all(batch: Batch) -> Batch:
    """Item by item, as a worker does it."""
    while run_next(batch.pk) is not None:
        Batch.objects.filter(pk=batch.pk).update(next_at=batch.created_at)  # time passes
    return stored(batch)


def stored(batch: Batch) -> Batch:
    return Batch.objects.get(pk=batch.pk)


def ended(batch: Batch, *, seconds: float = 120.0) -> Batch:
    """The batch once a worker has come to its end."""
    wait_for(lambda: stored(batch).status in FINAL_BATCH, seconds=seconds)
    return stored(batch)


def results(batch: Batch) -> dict[str, str]:
    return dict(BatchItem.objects.filter(batch=batch).values_list("name", "status"))


def times_done(batch: Batch, *, event: str) -> list[int]:
    """How often each transaction was changed for it, by the log."""
    entries = ExecutionLog.objects.filter(event=event, detail__batch=batch.pk)
    counts: dict[int, int] = {}
    for txn_id in entries.values_list("transaction_id", flat=True):
        counts[txn_id] = counts.get(txn_id, 0) + 1
    return list(counts.values())
