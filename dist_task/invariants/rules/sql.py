# ruff: noqa: S608  # constants of this file
"""The parts of which the rules are put together. `r` is a task run, `t` its transaction."""

from __future__ import annotations

ATTEMPT_EVENTS = "('succeeded', 'failed', 'unknown', 'worker_lost')"
RUNS = "dist_task_taskrun r JOIN transactions_transaction t ON t.id = r.transaction_id"
NAME = "t.instance_id || '/' || r.task_id || CASE r.item WHEN -1 THEN '' ELSE '/' || r.item END"
ENDED = f"""(SELECT transaction_id, task_id, op, item, count(*) AS n, count(DISTINCT attempt) AS different,
        max(attempt) AS last, count(*) FILTER (WHERE event = 'succeeded') AS successes
    FROM dist_task_executionlog WHERE event IN {ATTEMPT_EVENTS} GROUP BY 1, 2, 3, 4)"""
COMPLETED = """(SELECT count(*) FROM dist_task_executionlog l WHERE l.transaction_id = r.transaction_id
    AND l.task_id = r.task_id AND l.op = r.op AND l.item = r.item AND l.event = 'completed')"""
OF_RUN = "{0}.transaction_id = r.transaction_id AND {0}.task_id = r.task_id AND {0}.op = r.op AND {0}.item = r.item"
ENDED_OF_RUN = """(r.attempt - CASE WHEN r.status IN ('running', 'waiting')
    OR (r.status = 'cancelled' AND r.waits_for <> '') THEN 1 ELSE 0 END)"""
# By a person; an item that is skipped or completed lets its task be tried again.
RETRIED = """l.transaction_id = r.transaction_id AND (l.task_id = r.task_id AND l.op = r.op
      AND (l.event = 'retried' AND (l.item = r.item OR r.item = -1)
        OR l.event IN ('skipped', 'completed') AND l.item >= 0 AND r.item = -1)
    OR (l.event = 'retried' AND l.task_id = '' AND COALESCE(l.detail ->> 'op', 'action') = r.op
      AND COALESCE(l.detail -> 'tasks', '[]') ? r.task_id))"""
# Of a task with items. A row may be looked at before it is known to be such a one, and others may be given anything.
LENGTH_OF_LIST = """CASE jsonb_typeof({0}.input -> 'items') WHEN 'array'
    THEN jsonb_array_length({0}.input -> 'items') ELSE 0 END"""
ITEM_OF_RUN = """dist_task_taskrun i WHERE i.transaction_id = r.transaction_id AND i.task_id = r.task_id
    AND i.op = r.op AND i.item >= 0"""
CHILD_OF_RUN = """transactions_transaction c JOIN dist_task_taskrun r ON r.transaction_id = c.parent_id
    AND r.task_id = c.parent_task_id AND r.item = c.parent_item"""
WILL_TELL = "(c.completed_at IS NULL OR c.compensation = 'running' OR c.owes_parent)"
PERSON = "regexp_replace({0}, '^command:', '')"
OF_TASK = "d.flow_id = t.flow_id AND d.task_id = r.task_id AND d.op = r.op"
