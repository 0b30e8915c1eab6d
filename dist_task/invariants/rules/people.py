# ruff: noqa: S608  # what is put together here are constants of this package
"""What people do to many rows, or may not do alone: batches, approval requests."""

from __future__ import annotations

from .rule import Rule
from .sql import PERSON

RULES = (
    Rule(
        26,
        name="batch_items_counted",
        sentence="A batch counts its items rightly.",
        sql="""SELECT 'batch ' || b.id AS example FROM batches_batch b
            LEFT JOIN (SELECT batch_id, ARRAY[count(*), count(*) FILTER (WHERE status = 'done'),
                count(*) FILTER (WHERE status = 'refused'), count(*) FILTER (WHERE status = 'failed')] AS figures
                FROM batches_batchitem GROUP BY 1) i ON i.batch_id = b.id
            WHERE ARRAY[b.total, b.done, b.refused, b.failed]::bigint[] <> COALESCE(i.figures, '{0,0,0,0}')
               OR (b.status = 'done' AND b.done + b.refused + b.failed <> b.total)""",
    ),
    Rule(
        26,
        name="batch_items_once",
        sentence="No item of a batch was done twice.",
        sql="""SELECT 'batch ' || (detail ->> 'batch') || ', transaction ' || transaction_id AS example
            FROM dist_task_executionlog WHERE detail ? 'batch'
            GROUP BY detail ->> 'batch', transaction_id, task_id, op, item, event HAVING count(*) > 1""",
    ),
    Rule(
        27,
        name="two_people",
        sentence="Who approved is another person than who asked.",
        sql=f"""SELECT 'request ' || id || ' of ' || asked_by AS example FROM four_eyes_approvalrequest
            WHERE status = 'approved' AND {PERSON.format("decided_by")} = {PERSON.format("asked_by")}""",
    ),
    Rule(
        27,
        name="nothing_unapproved",
        sentence="What awaits a second person, or was not approved, was not done.",
        sql="""SELECT 'request ' || (l.detail ->> 'request') || ', transaction ' || l.transaction_id AS example
            FROM dist_task_executionlog l
            LEFT JOIN four_eyes_approvalrequest q ON q.id = (l.detail ->> 'request')::bigint
            WHERE l.event IN ('compensating', 'retried') AND l.detail ? 'request'
              AND (q.status IS DISTINCT FROM 'approved' OR q.transaction_id IS DISTINCT FROM l.transaction_id)
            UNION ALL SELECT 'batch ' || b.id FROM batches_batch b JOIN four_eyes_approvalrequest q ON q.batch_id = b.id
            WHERE q.status <> 'approved' AND (b.status IN ('running', 'paused', 'done') OR b.started_at IS NOT NULL)
            UNION ALL SELECT 'batch ' || b.id FROM batches_batch b
            LEFT JOIN four_eyes_approvalrequest q ON q.batch_id = b.id
            WHERE (b.status = 'awaiting') <> (COALESCE(q.status, '') = 'awaiting')""",
    ),
    Rule(
        27,
        name="approved_is_done",
        sentence="An approved compensation was carried out, once.",
        sql="""SELECT 'request ' || q.id AS example FROM four_eyes_approvalrequest q
            WHERE q.status = 'approved' AND q.act = 'compensate' AND 1 <> (
                SELECT count(*) FROM dist_task_executionlog l WHERE l.transaction_id = q.transaction_id
                AND l.event IN ('compensating', 'retried') AND l.detail -> 'request' = to_jsonb(q.id))""",
    ),
)
