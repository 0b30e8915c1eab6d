"""Exceptions with the same fingerprint, as one line each: of the newest ones, so that a flood costs no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

NEWEST = 5_000
"""Exceptions that are looked at."""
GROUPS = """
    SELECT g.fingerprint, g.count, g.occurrences, g.first_at, g.last_at, x.id, x.task_id, x.op, left(x.task_name, 200),
           x.error_code, left(x.error_message, 300), f.name
    FROM (SELECT fingerprint, count(*) AS count, sum(occurrences) AS occurrences, min(opened_at) AS first_at,
                 max(last_at) AS last_at, max(id) AS sample
          FROM (SELECT id, fingerprint, occurrences, opened_at, last_at FROM exceptions_app_exceptionrecord
                WHERE status = %(status)s ORDER BY id DESC LIMIT %(newest)s) AS newest
          GROUP BY fingerprint ORDER BY count(*) DESC, max(last_at) DESC LIMIT %(most)s) AS g
    JOIN exceptions_app_exceptionrecord x ON x.id = g.sample JOIN flows_flow f ON f.id = x.flow_id
    ORDER BY g.count DESC, g.last_at DESC
"""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    fingerprint: str
    count: int
    occurrences: int
    first_at: datetime
    last_at: datetime
    sample_id: int  # its newest exception, which the rest is of
    task_id: str
    op: str
    task_name: str
    error_code: str
    error_head: str
    flow_name: str


def groups(*, status: str = "open", most: int = 100) -> list[ErrorGroup]:
    """The largest first."""
    with connection.cursor() as cursor:
        cursor.execute(GROUPS, {"status": status, "newest": NEWEST, "most": most})
        return [ErrorGroup(*row) for row in cursor.fetchall()]
