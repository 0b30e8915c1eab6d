# ruff: noqa: S608  # what is put together here are constants of this package
"""Compensation."""

from __future__ import annotations

from .rule import Rule
from .sql import ATTEMPT_EVENTS, ITEM_OF_RUN, NAME, OF_RUN, RUNS

RULES = (
    Rule(
        14,
        name="compensation_comes_after",
        sentence="Nothing is undone before the forward work has ended.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            JOIN (SELECT transaction_id, min(started_at) AS at FROM (
                    SELECT transaction_id, started_at FROM dist_task_taskrun WHERE op = 'compensate'
                    UNION ALL
                    SELECT transaction_id, started_at FROM dist_task_executionlog WHERE op = 'compensate') AS starts
                WHERE started_at IS NOT NULL GROUP BY 1) AS first ON first.transaction_id = r.transaction_id
            WHERE r.op = 'action' AND (r.status IN ('pending', 'running', 'waiting') OR r.finished_at > first.at)""",
    ),
    Rule(
        15,
        name="undone_was_done",
        sentence="Only what succeeded or may have been executed is undone.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            LEFT JOIN dist_task_taskrun a ON a.transaction_id = r.transaction_id AND a.task_id = r.task_id
             AND a.op = 'action' AND a.item = r.item
            WHERE r.op = 'compensate'
              AND (t.compensation = 'none' OR NOT COALESCE(a.status = 'success' OR a.maybe_executed, false))
              AND NOT (r.item = -1 AND EXISTS (SELECT 1 FROM {ITEM_OF_RUN}))""",
    ),
    Rule(
        15,
        name="compensation_is_complete",
        sentence="Where compensation is done, all that was to be undone has been, each once, or was skipped by hand.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            JOIN task d ON d.flow_id = t.flow_id AND d.task_id = r.task_id AND d.op = 'compensate'
            LEFT JOIN dist_task_taskrun b ON b.transaction_id = r.transaction_id AND b.task_id = r.task_id
             AND b.op = 'compensate' AND b.item = r.item
            WHERE t.compensation = 'done' AND r.op = 'action' AND (r.status = 'success' OR r.maybe_executed)
              AND COALESCE(b.status NOT IN ('success', 'skipped'), true) AND NOT (d.has_items AND r.item = -1)""",
    ),
    Rule(
        16,
        name="reverse_order",
        sentence="A task is undone after what depends on it directly.",
        sql=f"""WITH undone AS (
                SELECT r.transaction_id, r.task_id, r.finished_at,
                    LEAST(r.started_at, (SELECT min(l.started_at) FROM dist_task_executionlog l
                        WHERE {OF_RUN.format("l")} AND l.event IN {ATTEMPT_EVENTS})) AS began_at
                FROM dist_task_taskrun r WHERE r.op = 'compensate'
            )
            SELECT t.instance_id || '/' || before.task_id || ' before ' || later.task_id AS example
            FROM undone before JOIN transactions_transaction t ON t.id = before.transaction_id
            JOIN edge e ON e.flow_id = t.flow_id AND e.needs = before.task_id
            JOIN undone later ON later.transaction_id = before.transaction_id AND later.task_id = e.task_id
            WHERE before.began_at < COALESCE(later.finished_at, 'infinity')""",
    ),
    Rule(
        17,
        name="failed_compensation_is_seen",
        sentence="A failed compensation has an exception of a compensation.",
        sql="""SELECT t.instance_id AS example FROM transactions_transaction t
            WHERE t.compensation = 'failed' AND NOT EXISTS (SELECT 1 FROM exceptions_app_exceptionrecord x
                WHERE x.transaction_id = t.id AND x.op = 'compensate')""",
    ),
)
