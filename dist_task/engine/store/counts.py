"""Counters: every change of a transaction's status appends a delta in the same commit; housekeeping folds them."""

from __future__ import annotations

from typing import Any

COLUMN_OF_STATUS = {"success": "succeeded", "failed": "failed", "cancelled": "cancelled"}


def take_back(cursor: Any, *, flow_id: str, status: str) -> None:
    """A transaction left a final status: it is no longer counted under it."""
    cursor.execute(
        f"""
        INSERT INTO dist_task_statdelta (flow_id, bucket, {COLUMN_OF_STATUS[status]})
        VALUES (%s, date_bin('15 minutes', clock_timestamp(), 'epoch'), -1)
        """,  # noqa: S608  # the column is one of ours
        (flow_id,),
    )


def fold(cursor: Any, *, limit: int = 20_000) -> int:
    """Moves deltas into the rollups in one statement, so that a reader never counts one twice or not at all."""
    cursor.execute(
        """
        WITH moved AS (
            DELETE FROM dist_task_statdelta WHERE id IN (
                SELECT id FROM dist_task_statdelta ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
            RETURNING *
        )
        INSERT INTO dist_task_statrollup AS r (flow_id, bucket, created, succeeded, failed, cancelled, duration_ms)
        SELECT flow_id, bucket, sum(created), sum(succeeded), sum(failed), sum(cancelled), sum(duration_ms)
        FROM moved GROUP BY flow_id, bucket ORDER BY flow_id, bucket
        ON CONFLICT (flow_id, bucket) DO UPDATE
        SET created = r.created + EXCLUDED.created, succeeded = r.succeeded + EXCLUDED.succeeded,
            failed = r.failed + EXCLUDED.failed, cancelled = r.cancelled + EXCLUDED.cancelled,
            duration_ms = r.duration_ms + EXCLUDED.duration_ms
        """,
        (limit,),
    )
    return int(cursor.rowcount)
