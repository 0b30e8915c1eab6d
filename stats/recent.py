"""How the last day went, and how long transactions take: from the counters and from the newest rows, never all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

HOURS = 24
NEWEST = 2_000
"""Transactions whose durations say how long they take now."""
COLUMNS = "bucket, succeeded, failed, cancelled"
# OFFSET keeps the planner to one short read of the unique index (flow, bucket) per flow, however old the table is.
BY_HOUR = f"""
    SELECT date_trunc('hour', bucket, %(zone)s), sum(succeeded), sum(failed), sum(cancelled)
    FROM (SELECT recent.* FROM flows_flow f CROSS JOIN LATERAL (
              SELECT {COLUMNS} FROM dist_task_statrollup
              WHERE flow_id = f.id AND bucket >= %(since)s OFFSET 0) AS recent
          UNION ALL
          SELECT {COLUMNS} FROM dist_task_statdelta WHERE bucket >= %(since)s) AS counted
    GROUP BY 1
"""  # noqa: S608  # columns of this file
DURATIONS = """
    SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM completed_at - created_at))
    FROM (SELECT status, created_at, completed_at FROM transactions_transaction ORDER BY id DESC LIMIT %s) AS newest
    WHERE status = 'success'
"""


@dataclass(frozen=True, slots=True)
class Hour:
    """What ended in it."""

    start: datetime
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.succeeded + self.failed + self.cancelled


def by_hour(*, now: datetime | None = None) -> list[Hour]:
    """The last 24 hours of the configured time zone, the oldest first; the last one goes on."""
    last = timezone.localtime(now, timezone.get_default_timezone()).replace(minute=0, second=0, microsecond=0)
    starts = [last.astimezone(UTC) - timedelta(hours=back) for back in reversed(range(HOURS))]
    parameters: dict[str, str | datetime] = {"since": starts[0], "zone": timezone.get_default_timezone_name()}
    with connection.cursor() as cursor:
        cursor.execute(BY_HOUR, parameters)
        # A take-back (a retry of a failed transaction) may make an hour's count negative.
        found = {start: tuple(max(0, int(count)) for count in counts) for start, *counts in cursor.fetchall()}
    return [Hour(start, *found.get(start, ())) for start in starts]


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds of the newest successful transactions; None where there is none."""

    median: float | None
    p95: float | None


def durations() -> Durations:
    with connection.cursor() as cursor:
        cursor.execute(DURATIONS, [NEWEST])
        (found,) = cursor.fetchone()
    return Durations(*(found or (None, None)))
