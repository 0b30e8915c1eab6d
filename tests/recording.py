"""Claims and group commits by hand: what a worker would do, on the connection of the test."""

from __future__ import annotations

from typing import Any

from django.db import connection

from dist_task.engine.store import batch, claims, session
from dist_task.engine.store.batch import Write, Written
from dist_task.engine.store.claims import Claimed
from dist_task.models import Worker


def record(*writes: Write, worker_id: int) -> list[Written]:
    """The worker's next batch."""
    number = Worker.objects.get(pk=worker_id).batch + 1
    with connection.cursor() as cursor:
        _prepare(cursor)
        return batch.record(cursor, worker_id=worker_id, number=number, writes=writes)


def claim(*, worker_id: int, limit: int) -> list[Claimed]:
    with connection.cursor() as cursor:
        _prepare(cursor)
        return claims.claim(cursor, worker_id=worker_id, limit=limit)


def _prepare(cursor: Any) -> None:
    """The function goes with the rollback of a test, the prepared statements stay."""
    cursor.execute("SELECT to_regproc('pg_temp.record_batch')")
    if cursor.fetchone()[0] is None:
        cursor.execute("DEALLOCATE ALL")
        session.prepare(cursor)
