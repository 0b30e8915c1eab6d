"""How the tasks of a flow fare: of its newest transactions only, so that the answer costs the same every day."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

NEWEST = 200
HEAT = """
    SELECT r.task_id, count(*), count(*) FILTER (WHERE r.status = 'failed' OR r.attempt > 1),
           count(*) FILTER (WHERE r.status = 'failed'),
           percentile_cont(0.95) WITHIN GROUP (ORDER BY EXTRACT(EPOCH FROM r.finished_at - r.started_at))
               FILTER (WHERE r.status = 'success')
    FROM (SELECT id FROM transactions_transaction WHERE flow_id = %s ORDER BY id DESC LIMIT %s) AS newest
    JOIN dist_task_taskrun r ON r.transaction_id = newest.id
    WHERE r.op = 'action' GROUP BY r.task_id
"""


@dataclass(frozen=True, slots=True)
class TaskHeat:
    """Of the task's runs: `troubled` needed more than one attempt or failed, `p95` is seconds of the last attempt."""

    runs: int
    troubled: int
    failed: int
    p95: float | None

    @property
    def failed_percent(self) -> float:
        return 100 * self.failed / self.runs if self.runs else 0.0

    @property
    def degree(self) -> int:
        """0 for none in trouble, 4 for every fourth and more."""
        share = self.troubled / self.runs if self.runs else 0.0
        return sum(share > limit for limit in (0, 0.02, 0.1, 0.25))


def heat(flow_id: str) -> dict[str, TaskHeat]:
    """By task id; tasks that have not run are missing."""
    with connection.cursor() as cursor:
        cursor.execute(HEAT, [flow_id, NEWEST])
        return {task_id: TaskHeat(*counts) for task_id, *counts in cursor.fetchall()}
