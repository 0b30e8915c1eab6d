"""Rows for the tests of commands, made by the engine itself: nothing here writes a status of its own."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.db import connection

from dist_task.engine.operate import compensate_transaction
from dist_task.engine.start import StartRequest, start
from dist_task.engine.store import batch, claims, leases
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.recording import claim as take
from tests.recording import record
from transactions.models import Transaction


def make_flow(*, name: str = "orders", strategy: str = "manual") -> Flow:
    task = {"id": "pay", "type": "noop", "retry": {"strategy": strategy, "interval": 5}}
    return register(name=name, flow_type="test", definition={"tasks": [task]}, create_user="tester")


def start_one(instance_id: str, *, flow: Flow) -> Transaction:
    start(StartRequest(instance_id, flow.pk, {"n": 1}), actor="tester")
    return Transaction.objects.get(instance_id=instance_id)


def claim(instance_id: str, *, lease_seconds: float = 15) -> tuple[int, claims.Claimed]:
    """A worker takes all that is due; its id, and what it holds of this transaction."""
    with connection.cursor() as cursor:
        worker = leases.register(cursor, cluster="t", host="t", pid=1, lease_seconds=lease_seconds)
    claimed = take(worker_id=worker, limit=1_000)
    return worker, next(each for each in claimed if each.instance_id == instance_id)


def attempt(instance_id: str, *, ended: batch.Ended, finish: str) -> Transaction:
    """One attempt of `pay`, made and recorded by a worker."""
    worker, held = claim(instance_id)
    begun = batch.Begun("pay", attempt=ended.attempt, budget=ended.attempt, input={})
    for write in (
        batch.Write(held.transaction_id, held.revision, begun=[begun]),
        batch.Write(held.transaction_id, held.revision, ended=[ended], finish=finish, release=True),
    ):
        assert record(write, worker_id=worker) == [batch.Written()]
    return Transaction.objects.get(instance_id=instance_id)


def fail_one(instance_id: str, *, flow: Flow, message: str = "no answer", code: str = "TIMEOUT") -> ExceptionRecord:
    """A failed transaction; its open exception."""
    start_one(instance_id, flow=flow)
    ended = batch.Ended(
        "pay",
        1,
        "failed",
        "failed",
        error_code=code,
        error_message=message,
        outcome="terminal",
        task_name="Pay",
    )
    attempt(instance_id, ended=ended, finish="failed")
    return ExceptionRecord.objects.get(transaction__instance_id=instance_id)


def succeed_one(instance_id: str, *, flow: Flow) -> Transaction:
    start_one(instance_id, flow=flow)
    return attempt(instance_id, ended=batch.Ended("pay", 1, "success", "succeeded"), finish="success")


def wait_one(instance_id: str, *, flow: Flow, waits_for: str = "approval", message: str = "") -> Transaction:
    """It waits for an approval, with the message of its task, or the like, and nobody holds it."""
    start_one(instance_id, flow=flow)
    worker, held = claim(instance_id)
    asked = {"message": message, "role": ""}
    waiting = batch.Ended("pay", 1, "waiting", "waiting", waits_for=waits_for, response=asked)
    begun = batch.Begun("pay", attempt=1, budget=1, input={})
    record(batch.Write(held.transaction_id, held.revision, begun=[begun]), worker_id=worker)
    record(batch.Write(held.transaction_id, held.revision, ended=[waiting], release=True), worker_id=worker)
    return Transaction.objects.get(instance_id=instance_id)


def fail_undoing(instance_id: str, *, flow: Flow) -> ExceptionRecord:
    """A successful transaction whose compensation failed; the open exception of that."""
    succeed_one(instance_id, flow=flow)
    compensate_transaction(instance_id, actor="tester", remark="why")
    worker, held = claim(instance_id)
    begun = batch.Begun("pay", attempt=1, budget=1, input={}, op="compensate")
    failed = batch.Ended("pay", 1, "failed", "failed", op="compensate", outcome="terminal", task_name="Pay")
    record(batch.Write(held.transaction_id, held.revision, begun=[begun]), worker_id=worker)
    record(
        batch.Write(held.transaction_id, held.revision, ended=[failed], compensated="failed", release=True),
        worker_id=worker,
    )
    return ExceptionRecord.objects.get(transaction__instance_id=instance_id)


def make_older(instance_id: str, *, by: timedelta) -> None:
    """Times pass; nothing else changes."""
    row = Transaction.objects.get(instance_id=instance_id)
    row.created_at -= by
    row.started_at -= by
    row.completed_at -= by
    row.save(update_fields=["created_at", "started_at", "completed_at"])


def status_of(instance_id: str) -> str:
    return Transaction.objects.values_list("status", flat=True).get(instance_id=instance_id)


def as_json(path: Any, *, data: Any) -> str:
    path.write_text(json.dumps(data), encoding="utf-8")
    return str(path)
