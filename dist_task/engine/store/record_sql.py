"""The statement of the group commit (see batch.py). Its parts run over one snapshot, in one round trip.

$1 the worker, $2 the batch's number, $3 the transactions' ids, $4 what becomes of them, $5 attempts that ended,
$6 attempts that begin, $7 a test's flag that takes the fence away. What ends and what begins in it has one time, the
statement's: its parts run in no order that one could see.
"""

from __future__ import annotations

from dist_task.states import TRANSACTION_MOVES, TransactionStatus, sources

FINISHABLE = ", ".join(f"'{status}'" for status in sources(TRANSACTION_MOVES, to=TransactionStatus.SUCCESS))

GATE_AND_FENCE = """
WITH gate AS (
    UPDATE dist_task_worker SET batch = $2 WHERE id = $1 AND batch = $2 - 1 RETURNING id
), mine AS MATERIALIZED (
    -- in order of ids, so that two batches cannot deadlock
    SELECT t.id, t.revision, t.flow_id FROM transactions_transaction t
    WHERE t.id = ANY($3) AND (t.owner = $1 OR $7) AND EXISTS (SELECT 1 FROM gate)
    ORDER BY t.id FOR NO KEY UPDATE
), w AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($4) AS w(id bigint, revision int, finish text, release boolean, delay float8)
), e AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($5) AS e(transaction_id bigint, task_id text, op text, item int, attempt int,
        status text, event text, output jsonb, delay float8, error_code text, error_message text, outcome text,
        fingerprint text, task_name text, maybe_executed boolean, request jsonb, response jsonb)
)"""

# A late result changes nothing, but leaves a trace: the call was made.
LOG_FENCED = """, fenced AS (
    INSERT INTO dist_task_executionlog
        (transaction_id, task_id, op, item, attempt, event, actor, message, error_code, request, response)
    SELECT e.transaction_id, e.task_id, e.op, e.item, e.attempt, 'fenced', 'system', e.error_message, e.error_code,
           e.request, e.response
    FROM e JOIN transactions_transaction t ON t.id = e.transaction_id
    WHERE EXISTS (SELECT 1 FROM gate) AND NOT EXISTS (SELECT 1 FROM mine WHERE mine.id = e.transaction_id)
)"""

# A retry is written as failed where a person stopped retries meanwhile (the budget was lowered under the row's lock).
END = """, ended AS (
    UPDATE dist_task_taskrun r
    SET status = CASE WHEN e.status = 'pending' AND r.attempt >= r.attempt_budget THEN 'failed' ELSE e.status END,
        output = e.output, error_code = e.error_code, error_message = e.error_message,
        maybe_executed = r.maybe_executed OR e.maybe_executed,
        due_at = clock_timestamp() + e.delay * interval '1 second',
        finished_at = CASE WHEN e.status <> 'pending' OR r.attempt >= r.attempt_budget
            THEN GREATEST(statement_timestamp(), r.started_at) END
    FROM e JOIN mine ON mine.id = e.transaction_id
    WHERE r.transaction_id = e.transaction_id AND r.task_id = e.task_id AND r.op = e.op AND r.item = e.item
      AND r.attempt = e.attempt AND r.status = 'running'
    RETURNING r.id AS run_id, r.started_at, r.due_at, r.status AS became, mine.flow_id, e.*
), logged AS (
    INSERT INTO dist_task_executionlog
        (transaction_id, task_id, op, item, attempt, event, message, error_code, request, response, started_at, at)
    SELECT transaction_id, task_id, op, item, attempt, event, error_message, error_code, request, response, started_at,
           GREATEST(statement_timestamp(), started_at)
    FROM ended
)"""

EXCEPTIONS = """, opened AS (
    INSERT INTO exceptions_app_exceptionrecord
        (transaction_id, run_id, flow_id, task_id, op, item, task_name, status, error_code, error_message, outcome,
         fingerprint, retry_next_at)
    SELECT transaction_id, run_id, flow_id, task_id, op, item, task_name,
           CASE became WHEN 'pending' THEN 'retrying' ELSE 'open' END, error_code, error_message, outcome, fingerprint,
           CASE became WHEN 'pending' THEN due_at END
    FROM ended WHERE became <> 'success'
    ON CONFLICT (run_id) WHERE NOT (status = 'handled') DO UPDATE
    SET status = EXCLUDED.status, error_code = EXCLUDED.error_code, error_message = EXCLUDED.error_message,
        outcome = EXCLUDED.outcome, fingerprint = EXCLUDED.fingerprint, retry_next_at = EXCLUDED.retry_next_at,
        occurrences = exceptions_app_exceptionrecord.occurrences + 1, last_at = clock_timestamp()
), closed AS (
    UPDATE exceptions_app_exceptionrecord x
    SET status = 'handled', handled_at = clock_timestamp(), handled_by = 'system', retry_next_at = NULL
    FROM ended n
    WHERE n.became = 'success' AND n.attempt > 1 AND x.run_id = n.run_id AND NOT (x.status = 'handled')
)"""

# Goes on: those whose revision is as it was read, and all of whose ended attempts stood as they were thought.
BEGIN = """, going_on AS MATERIALIZED (
    SELECT w.id, w.finish, w.release, w.delay FROM w JOIN mine ON mine.id = w.id AND mine.revision = w.revision
    WHERE NOT EXISTS (
        SELECT 1 FROM e WHERE e.transaction_id = w.id AND NOT EXISTS (
            SELECT 1 FROM ended n WHERE n.transaction_id = e.transaction_id AND n.task_id = e.task_id
                AND n.op = e.op AND n.item = e.item))
), begun AS (
    INSERT INTO dist_task_taskrun AS r
        (transaction_id, task_id, op, item, status, attempt, attempt_budget, input, started_at)
    SELECT b.transaction_id, b.task_id, b.op, b.item, 'running', b.attempt, b.budget, b.input, statement_timestamp()
    FROM jsonb_to_recordset($6) AS b(transaction_id bigint, task_id text, op text, item int, attempt int, budget int,
        input jsonb) JOIN going_on ON going_on.id = b.transaction_id
    ON CONFLICT (transaction_id, task_id, op, item) DO UPDATE
    SET status = 'running', attempt = EXCLUDED.attempt, attempt_budget = EXCLUDED.attempt_budget, due_at = NULL,
        started_at = EXCLUDED.started_at
    WHERE r.status = 'pending' AND r.attempt = EXCLUDED.attempt - 1
    RETURNING r.transaction_id
)"""

MOVE_ON = f""", done AS (
    UPDATE transactions_transaction t
    SET status = going_on.finish, completed_at = GREATEST(statement_timestamp(), t.created_at), owner = NULL,
        wake_at = NULL
    FROM going_on WHERE t.id = going_on.id AND going_on.finish IS NOT NULL AND t.status IN ({FINISHABLE})
    RETURNING t.flow_id, t.status, (EXTRACT(EPOCH FROM t.completed_at - t.created_at) * 1000)::bigint AS duration_ms
), counted AS (
    INSERT INTO dist_task_statdelta (flow_id, bucket, succeeded, failed, duration_ms)
    SELECT flow_id, date_bin('15 minutes', clock_timestamp(), 'epoch'), count(*) FILTER (WHERE status = 'success'),
           count(*) FILTER (WHERE status = 'failed'),
           COALESCE(sum(duration_ms) FILTER (WHERE status = 'success'), 0)
    FROM done GROUP BY flow_id
), released AS (
    UPDATE transactions_transaction t
    SET owner = NULL, wake_at = clock_timestamp() + going_on.delay * interval '1 second'
    FROM going_on WHERE t.id = going_on.id AND going_on.release AND going_on.finish IS NULL
)"""  # noqa: S608  # statuses of ours

ANSWER = """
SELECT EXISTS (SELECT 1 FROM gate), mine.id, EXISTS (SELECT 1 FROM going_on WHERE going_on.id = mine.id),
       (SELECT count(*) FROM begun WHERE begun.transaction_id = mine.id)
FROM (SELECT 1) AS one LEFT JOIN mine ON true
"""

RECORD = GATE_AND_FENCE + LOG_FENCED + END + EXCEPTIONS + BEGIN + MOVE_ON + ANSWER
