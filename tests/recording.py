"""Claims and group commits by hand: what a worker would do, on the connection of the test."""

from __future__ import annotations

from typing import Any

from django.db import connection

from dist_task.engine.store import batch, claims, statements
from dist_task.engine.store.batch import Write, Written
from dist_task.engine.store.claims import Claimed
from dist_task.models import Worker


def record(*writes: Write, worker_id: int) -> list[Written]:
    """The worker's next batch."""
    return send(*writes, worker_id=worker_id, number=Worker.objects.get(pk=worker_id).batch + 1)


def send(*writes: Write, worker_id: int, number: int) -> list[Written]:
    with connection.cursor() as cursor:
        prepare(cursor)
        cursor.execute(batch.RECORD, batch.record_parameters(worker_id=worker_id, number=number, writes=writes))
        return batch.read_record(cursor.fetchall(), writes=writes)


def claim(*, worker_id: int, limit: int, openings: bytes | None = None) -> list[Claimed]:
    return look(worker_id=worker_id, limit=limit, openings=openings)[0]


def look(*, worker_id: int, limit: int, openings: bytes | None = None) -> tuple[list[Claimed], float | None]:
    """What was claimed, and in how many seconds the next one falls due."""
    given = claims.claim_parameters(worker_id=worker_id, limit=limit, look_ahead=True, openings=openings)
    with connection.cursor() as cursor:
        prepare(cursor)
        cursor.execute(claims.EXECUTE_CLAIM, given)
        return claims.read_claim(cursor.fetchall())


def prepare(cursor: Any) -> None:
    """The function goes with the rollback of a test, the prepared statements stay. A worker's settings would stay as
    well, and tell the planner of the tests after this one what to avoid."""
    cursor.execute("SELECT to_regproc('pg_temp.record_batch')")
    if cursor.fetchone()[0] is None:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name IN ('record_batch', 'claim_due')")
        for (name,) in cursor.fetchall():
            cursor.execute(f"DEALLOCATE {name}")
        for sql in statements.HOT:
            cursor.execute(sql)
