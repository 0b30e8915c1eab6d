"""Exact figures in one statement each: rollups plus the deltas that housekeeping has not folded yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.utils import timezone

SUMS = """
    SELECT COALESCE(SUM(created), 0), COALESCE(SUM(succeeded), 0), COALESCE(SUM(failed), 0),
           COALESCE(SUM(cancelled), 0), COALESCE(SUM(duration_ms), 0)
    FROM (SELECT flow_id, created, succeeded, failed, cancelled, duration_ms
          FROM dist_task_statrollup
          UNION ALL
          SELECT flow_id, created, succeeded, failed, cancelled, duration_ms
          FROM dist_task_statdelta) AS counted
"""
# Housekeeping moves deltas into rollups; one statement sees one snapshot: nothing is missed or counted twice.
# What is put together here are constants of this file.
TODAY = "SELECT COUNT(*) FROM exceptions_app_exceptionrecord WHERE opened_at >= %(midnight)s"
OVERVIEW = "SELECT totals.*, (" + TODAY + ") FROM (" + SUMS + ") AS totals"  # noqa: S608
OF_FLOW = SUMS + " WHERE flow_id = %(flow)s"
OF_NAME = SUMS + " WHERE flow_id IN (SELECT id FROM flows_flow WHERE name = %(name)s)"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Totals:
    created: int
    succeeded: int
    failed: int
    cancelled: int
    duration_ms: int

    @property
    def success_rate(self) -> float:
        """Of those that ended in success or failure; 0 when none has."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else 0.0

    @property
    def avg_duration(self) -> float:
        """Seconds from created to completed, of successful ones; 0 when there is none."""
        return round(self.duration_ms / self.succeeded / 1000, 3) if self.succeeded else 0.0

    @property
    def unfinished(self) -> int:
        return self.created - self.succeeded - self.failed - self.cancelled


@dataclass(frozen=True, slots=True)
class Overview:
    totals: Totals
    exceptions_today: int


def overview(*, now: datetime | None = None) -> Overview:
    *counts, today = fetch(OVERVIEW, {"midnight": midnight(now or timezone.now())})
    return Overview(totals=totals(counts), exceptions_today=today)


def of_flow(flow_id: str) -> Totals:
    return totals(fetch(OF_FLOW, {"flow": flow_id}))


def of_name(name: str) -> Totals:
    """All versions of a name, deleted ones included."""
    return totals(fetch(OF_NAME, {"name": name}))


def midnight(now: datetime) -> datetime:
    """The start of today in the configured time zone."""
    return timezone.localtime(now, timezone.get_default_timezone()).replace(hour=0, minute=0, second=0, microsecond=0)


def totals(counts: list[int]) -> Totals:
    return Totals(*(int(count) for count in counts))


def fetch(sql: str, parameters: dict[str, str | datetime]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchone())
