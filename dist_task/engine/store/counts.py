"""Counters: every change of a transaction's status appends a delta in the same commit; housekeeping folds them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

COLUMN_OF_STATUS = {
    "pending": "created",
    "success": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
COLUMNS = ("created", "succeeded", "failed", "cancelled", "duration_ms")


@dataclass(frozen=True, slots=True)
class Change:
    """`amount` transactions of a flow came to `status`, or left it (a negative amount)."""

    flow_id: str
    status: str
    amount: int = 1
    duration_ms: int = 0


def append_deltas(cursor: Any, *, changes: Iterable[Change]) -> None:
    totals: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COLUMNS, 0))
    for change in changes:
        total = totals[change.flow_id]
        total[COLUMN_OF_STATUS[change.status]] += change.amount
        if change.status == "success":
            total["duration_ms"] += change.duration_ms
    if not totals:
        return
    cursor.execute(
        """
        INSERT INTO dist_task_statdelta (flow_id, bucket, created, succeeded, failed, cancelled, duration_ms)
        SELECT flow_id, date_bin('15 minutes', clock_timestamp(), 'epoch'), created, succeeded, failed, cancelled,
               duration_ms
        FROM jsonb_to_recordset(%s::jsonb) AS d(flow_id text, created bigint, succeeded bigint, failed bigint,
            cancelled bigint, duration_ms bigint)
        """,
        (orjson.dumps([{"flow_id": flow_id, **total} for flow_id, total in totals.items()]).decode(),),
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
