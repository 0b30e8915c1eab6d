# ruff: noqa: S608  # what is put together here are constants of this package
"""Nothing stands still without a reason."""

from __future__ import annotations

from .rule import Rule
from .sql import NAME, RUNS

RULES = (
    Rule(
        18,
        name="no_limbo",
        sentence="A transaction with something left to do has a living owner, a due time, waits, or is paused.",
        sql="""SELECT t.instance_id AS example FROM transactions_transaction t
            LEFT JOIN dist_task_worker w ON w.id = t.owner
            WHERE (t.completed_at IS NULL OR t.compensation = 'running')
              AND NOT (t.paused AND t.owner IS NULL)
              AND w.id IS NULL AND (t.owner IS NOT NULL OR (t.wake_at IS NULL AND NOT EXISTS (
                SELECT FROM dist_task_taskrun r WHERE r.transaction_id = t.id AND r.status = 'waiting'
                AND r.due_at IS NULL AND r.answer IS NULL AND r.waits_for <> 'items')))""",
    ),
    Rule(
        18,
        name="paused_stands_still",
        sentence="Nothing of a paused transaction has begun since it was paused.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} WHERE t.paused AND r.started_at > (
                SELECT max(l.at) FROM dist_task_executionlog l WHERE l.transaction_id = t.id AND l.event = 'paused')
            UNION ALL SELECT t.instance_id FROM transactions_transaction t WHERE t.paused AND NOT EXISTS (
                SELECT FROM dist_task_executionlog l WHERE l.transaction_id = t.id AND l.event = 'paused')""",
    ),
    Rule(
        18,
        name="rescued_in_time",
        sentence="Nothing stays with an owner whose lease ran out over a minute ago while others live.",
        sql="""SELECT t.instance_id || ' held by ' || w.id AS example
            FROM transactions_transaction t JOIN dist_task_worker w ON w.id = t.owner
            WHERE w.lease_until < statement_timestamp() - interval '1 minute' AND EXISTS (
                SELECT 1 FROM dist_task_worker l WHERE l.lease_until > statement_timestamp()
                AND l.created_at < statement_timestamp() - interval '1 minute')""",
    ),
    Rule(
        18,
        name="rescue_pending",
        sentence="The owner's lease ran out; the sweeper will take it back.",
        sql="""SELECT t.instance_id || ' held by ' || w.id AS example
            FROM transactions_transaction t JOIN dist_task_worker w ON w.id = t.owner
            WHERE w.lease_until <= statement_timestamp()""",
        is_warning=True,
    ),
    Rule(
        18,
        name="held_and_still",
        sentence="A living owner has had nothing in flight for a minute: it waits for a slot, or forgot it.",
        sql="""SELECT t.instance_id || ' held by ' || w.id AS example
            FROM transactions_transaction t JOIN dist_task_worker w ON w.id = t.owner
            WHERE w.lease_until > statement_timestamp() AND t.started_at < statement_timestamp() - interval '1 minute'
              AND NOT EXISTS (SELECT 1 FROM dist_task_taskrun r WHERE r.transaction_id = t.id
                AND (r.status = 'running' OR r.started_at > statement_timestamp() - interval '1 minute'))
              AND NOT EXISTS (SELECT 1 FROM dist_task_executionlog l WHERE l.transaction_id = t.id
                AND l.at > statement_timestamp() - interval '1 minute')""",
        is_warning=True,
    ),
    Rule(
        18,
        name="overdue",
        sentence="It has been due for over a minute and nobody took it.",
        sql="""SELECT t.instance_id AS example FROM transactions_transaction t
            WHERE t.owner IS NULL AND t.wake_at < statement_timestamp() - interval '1 minute'""",
        is_warning=True,
    ),
)
