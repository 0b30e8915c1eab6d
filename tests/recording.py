"""Group commits by hand: what a worker would write, on the connection of the test."""

from __future__ import annotations

from django.db import connection

from dist_task.engine.store import batch
from dist_task.engine.store.batch import Write, Written
from dist_task.models import Worker


def record(*writes: Write, worker_id: int) -> list[Written]:
    """The worker's next batch."""
    number = Worker.objects.get(pk=worker_id).batch + 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regproc('pg_temp.record_batch')")
        if cursor.fetchone()[0] is None:
            cursor.execute("DEALLOCATE ALL")  # the function goes with a test's rollback, the prepared call stays
            batch.prepare(cursor)
        return batch.record(cursor, worker_id=worker_id, number=number, writes=writes)
