"""The function of the group commit (see batch.py): one call, one round trip, one commit.

It lives in a worker's own session (`pg_temp`), so a worker always runs the one that it was released with. Its
statements are driven by what there is to write, row by row over indexes: their cost grows with the batch and not with
the tables. What ends and what begins in it has one time, the call's.
"""

from __future__ import annotations

from dist_task.states import TRANSACTION_MOVES, TransactionStatus, sources

FINISHABLE = ", ".join(f"'{status}'" for status in sources(TRANSACTION_MOVES, to=TransactionStatus.SUCCESS))

SIGNATURE = """
CREATE OR REPLACE FUNCTION pg_temp.record_batch(
    worker bigint, number bigint,
    ids bigint[], revisions int[],                    -- the transactions, and the revision that each was read with
    ends jsonb, begins jsonb,                         -- attempts that ended, attempts that begin; null for none
    finishes bigint[], statuses text[],               -- transactions that end, and how
    releases bigint[], delays float8[],               -- transactions that are given back, due after so many seconds
    skips bigint[], skipped text[],                   -- transactions, and a task of each that is not to run
    compensations bigint[],                           -- transactions that are undone from now on
    compensated bigint[], outcomes text[],            -- transactions that have been undone, and how that ended
    eventful boolean,                                 -- some attempt is not the success of a first one
    unfenced boolean,                                 -- a test's flag that takes every fence away
    OUT mine bigint[], OUT current bigint[], OUT begun bigint[]
) LANGUAGE plpgsql AS $body$
#variable_conflict error
DECLARE
    stood bigint[];                                   -- the ended attempts that stood as they were thought, by number
BEGIN
"""

GATE = """
    UPDATE dist_task_worker w SET batch = number WHERE w.id = worker AND w.batch = number - 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
"""

# In order of ids, so that two batches cannot deadlock.
FENCE = """
    SELECT array_agg(t.id), array_agg(t.id) FILTER (WHERE t.is_current) INTO mine, current
    FROM (
        SELECT t.id, t.revision = seen.revision OR unfenced AS is_current
        FROM unnest(ids, revisions) AS seen(id, revision) JOIN transactions_transaction t ON t.id = seen.id
        WHERE t.owner = worker OR unfenced
        ORDER BY t.id FOR NO KEY UPDATE OF t
    ) t;
    mine := COALESCE(mine, '{}');
"""

# Members of an ended attempt that have their usual value are left out: to read them is a twentieth of the whole call.
OP, ITEM, STATUS = "COALESCE(e.op, 'action')", "COALESCE(e.item, -1)", "COALESCE(e.status, 'success')"

# A late result changes nothing, but leaves a trace: the call was made.
LOG_FENCED = f"""
    IF ends IS NOT NULL AND cardinality(mine) < cardinality(ids) THEN
        INSERT INTO dist_task_executionlog
            (transaction_id, task_id, op, item, attempt, event, actor, message, error_code, request, response)
        SELECT e.transaction_id, e.task_id, {OP}, {ITEM}, e.attempt, 'fenced', 'system',
               COALESCE(e.error_message, ''), COALESCE(e.error_code, ''), e.request, e.response
        FROM jsonb_to_recordset(ends) AS e(transaction_id bigint, task_id text, op text, item int, attempt int,
            error_code text, error_message text, request jsonb, response jsonb)
        JOIN transactions_transaction t ON t.id = e.transaction_id
        WHERE NOT e.transaction_id = ANY(mine) FOR KEY SHARE OF t;
    END IF;
"""  # noqa: S608  # parts of ours

# A retry is written as failed where a person stopped retries meanwhile (the budget was lowered under the row's lock).
BECOMES_FAILED = "e.status = 'pending' AND r.attempt >= r.attempt_budget"
# That all items of a task have ended was concluded by the worker: a person may have retried one of them meanwhile.
IS_CONCLUDED = "r.status = 'waiting' AND r.waits_for = 'items'"
# An answer from outside came before this end of an attempt, whose worker did not know it: the answer counts, but for a
# success. The attempt has not ended but waits, is due, and whoever holds it reads it again (see END).
IS_ANSWERED = f"r.answer IS NOT NULL AND {STATUS} <> 'success' AND NOT COALESCE(e.took_answer, false)"
STANDS = f"""r.transaction_id = e.transaction_id AND r.task_id = e.task_id AND r.op = {OP} AND r.item = {ITEM}
              AND e.transaction_id = ANY(mine) AND (e.transaction_id = ANY(current) OR NOT ({IS_CONCLUDED}))
              AND (r.attempt = e.attempt AND r.status IN ('running', 'waiting') OR unfenced)"""
ENDED_AND_LOGGED = f"""
        WITH ended AS (
            UPDATE dist_task_taskrun r
            SET status = CASE WHEN {IS_ANSWERED} THEN 'waiting' WHEN {BECOMES_FAILED} THEN 'failed' ELSE {STATUS} END,
                output = e.output,
                waits_for = CASE WHEN NOT ({IS_ANSWERED}) THEN COALESCE(e.waits_for, '')
                    WHEN r.waits_for = 'approval' THEN 'approval' ELSE 'callback' END,
                answer = CASE WHEN {IS_ANSWERED} THEN r.answer END, error_code = COALESCE(e.error_code, ''),
                error_message = COALESCE(e.error_message, ''),
                maybe_executed = r.maybe_executed OR (COALESCE(e.maybe_executed, false) AND NOT ({IS_ANSWERED})),
                due_at = CASE WHEN {IS_ANSWERED} THEN clock_timestamp()
                    ELSE clock_timestamp() + e.delay * interval '1 second' END,
                finished_at = CASE WHEN NOT ({IS_ANSWERED})
                      AND ({STATUS} NOT IN ('pending', 'waiting') OR {BECOMES_FAILED})
                    THEN GREATEST(statement_timestamp(), r.started_at) END
            FROM ROWS FROM (jsonb_to_recordset(ends) AS (transaction_id bigint, task_id text, op text, item int,
                attempt int, status text, event text, output jsonb, delay float8, waits_for text, error_code text,
                error_message text, note text, outcome text, fingerprint text, task_name text, maybe_executed boolean,
                took_answer boolean, is_raised boolean, request jsonb, response jsonb)) WITH ORDINALITY AS e
            WHERE {STANDS}
            RETURNING e.ordinality, r.id AS run_id, r.transaction_id, r.task_id, r.op, r.item, e.attempt,
                r.started_at, r.due_at, r.status AS became, r.answer IS NULL AS is_unanswered,
                COALESCE(e.event, 'succeeded') AS event, e.note, e.error_code, e.error_message, e.outcome,
                e.fingerprint, e.task_name, e.is_raised, e.request, e.response
        ), logged AS (
            INSERT INTO dist_task_executionlog
                (transaction_id, task_id, op, item, attempt, event, message, error_code, request, response,
                 started_at, at)
            SELECT transaction_id, task_id, op, item, attempt, CASE WHEN is_unanswered THEN event ELSE 'waiting' END,
                   COALESCE(note, error_message, ''), COALESCE(error_code, ''), request, response, started_at,
                   GREATEST(statement_timestamp(), started_at)
            FROM ended
        )"""  # noqa: S608  # parts of ours

# The same for what mostly is all that ended: first attempts that succeeded. They need fewer columns and no cases, which
# spares a twentieth of the whole call.
SUCCEEDED_AND_LOGGED = f"""
        WITH ended AS (
            UPDATE dist_task_taskrun r
            SET status = 'success', output = e.output, waits_for = '', answer = NULL, error_code = '',
                error_message = '', due_at = NULL, finished_at = GREATEST(statement_timestamp(), r.started_at)
            FROM ROWS FROM (jsonb_to_recordset(ends) AS (transaction_id bigint, task_id text, op text, item int,
                attempt int, output jsonb, note text, request jsonb, response jsonb)) WITH ORDINALITY AS e
            WHERE {STANDS}
            RETURNING e.ordinality, r.transaction_id, r.task_id, r.op, r.item, e.attempt, r.started_at,
                e.note, e.request, e.response
        ), logged AS (
            INSERT INTO dist_task_executionlog
                (transaction_id, task_id, op, item, attempt, event, message, request, response, started_at, at)
            SELECT transaction_id, task_id, op, item, attempt, 'succeeded', COALESCE(note, ''), request, response,
                   started_at, GREATEST(statement_timestamp(), started_at)
            FROM ended
        )"""  # noqa: S608  # parts of ours

# A failure that is not raised is that of a task whose items have exceptions: one of its own needs nobody any more.
EXCEPTIONS = """, opened AS (
            INSERT INTO exceptions_app_exceptionrecord
                (transaction_id, run_id, flow_id, task_id, op, item, task_name, status, error_code, error_message,
                 outcome, fingerprint, retry_next_at)
            SELECT ended.transaction_id, run_id, t.flow_id, task_id, op, item, task_name,
                   CASE became WHEN 'pending' THEN 'retrying' ELSE 'open' END, COALESCE(error_code, ''),
                   COALESCE(error_message, ''), outcome, fingerprint, CASE became WHEN 'pending' THEN due_at END
            FROM ended JOIN transactions_transaction t ON t.id = ended.transaction_id
            WHERE became NOT IN ('success', 'waiting') AND is_raised
            ON CONFLICT (run_id) WHERE NOT (status = 'handled') DO UPDATE
            SET status = EXCLUDED.status, error_code = EXCLUDED.error_code, error_message = EXCLUDED.error_message,
                outcome = EXCLUDED.outcome, fingerprint = EXCLUDED.fingerprint,
                retry_next_at = EXCLUDED.retry_next_at,
                occurrences = exceptions_app_exceptionrecord.occurrences + 1, last_at = clock_timestamp()
        ), closed AS (
            UPDATE exceptions_app_exceptionrecord x
            SET status = 'handled', handled_at = clock_timestamp(), handled_by = 'system', retry_next_at = NULL
            FROM ended
            WHERE (ended.became = 'success' AND ended.attempt > 1 OR NOT is_raised) AND x.run_id = ended.run_id
              AND NOT (x.status = 'handled')
        )"""

# On go those whose revision is as it was read, and all of whose ended attempts stood as they were thought, unanswered.
END = f"""
    IF ends IS NOT NULL THEN
        IF eventful THEN
            {ENDED_AND_LOGGED}{EXCEPTIONS}
            SELECT COALESCE(array_agg(ordinality) FILTER (WHERE is_unanswered), '{{}}') INTO stood FROM ended;
        ELSE
            {SUCCEEDED_AND_LOGGED}
            SELECT COALESCE(array_agg(ordinality), '{{}}') INTO stood FROM ended;
        END IF;
        IF cardinality(stood) < jsonb_array_length(ends) THEN
            SELECT array_agg(one) INTO current FROM unnest(current) AS one
            WHERE NOT EXISTS (
                SELECT FROM ROWS FROM (jsonb_to_recordset(ends) AS (transaction_id bigint)) WITH ORDINALITY AS e
                WHERE e.transaction_id = one AND NOT e.ordinality = ANY(stood)
            );
        END IF;
    END IF;
"""  # noqa: S608  # parts of ours

# Where a service is asked again, the attempt has not begun anew.
BEGIN = """
    IF begins IS NOT NULL THEN
        WITH marked AS (
            INSERT INTO dist_task_taskrun AS r
                (transaction_id, task_id, op, item, status, attempt, attempt_budget, input, started_at,
                 begun_by, deadline_at)
            SELECT b.transaction_id, b.task_id, COALESCE(b.op, 'action'), COALESCE(b.item, -1), 'running', b.attempt,
                   b.budget, b.input,
                   statement_timestamp(), worker, statement_timestamp() + b.total * interval '1 second'
            FROM jsonb_to_recordset(begins) AS b(transaction_id bigint, task_id text, op text, item int, attempt int,
                budget int, input jsonb, total float8)
            WHERE b.transaction_id = ANY(current)
            ON CONFLICT (transaction_id, task_id, op, item) DO UPDATE
            SET status = 'running', attempt = EXCLUDED.attempt, attempt_budget = EXCLUDED.attempt_budget,
                input = COALESCE(r.input, EXCLUDED.input), due_at = NULL, begun_by = EXCLUDED.begun_by,
                deadline_at = COALESCE(r.deadline_at, EXCLUDED.deadline_at),
                started_at = CASE r.status WHEN 'waiting' THEN r.started_at ELSE EXCLUDED.started_at END
            WHERE (r.status = 'pending' AND r.attempt = EXCLUDED.attempt - 1)
               OR (r.status = 'waiting' AND r.attempt = EXCLUDED.attempt)
            RETURNING r.transaction_id
        ) SELECT array_agg(transaction_id) INTO begun FROM marked;
    END IF;
"""

# A run whose retry was asked for may turn out to be skipped; then its exception needs nobody.
SKIP = """
    IF skips IS NOT NULL THEN
        WITH passed AS (
            INSERT INTO dist_task_taskrun AS r (transaction_id, task_id, status, finished_at)
            SELECT s.transaction_id, s.task_id, 'skipped', statement_timestamp()
            FROM unnest(skips, skipped) AS s(transaction_id, task_id) WHERE s.transaction_id = ANY(current)
            ON CONFLICT (transaction_id, task_id, op, item) DO UPDATE
            SET status = 'skipped', finished_at = EXCLUDED.finished_at, due_at = NULL WHERE r.status = 'pending'
            RETURNING r.id, r.transaction_id, r.task_id
        ), logged AS (
            INSERT INTO dist_task_executionlog (transaction_id, task_id, op, event, actor)
            SELECT transaction_id, task_id, 'action', 'skipped', 'system' FROM passed
        ), closed AS (
            UPDATE exceptions_app_exceptionrecord x
            SET status = 'handled', handled_at = clock_timestamp(), handled_by = 'system', retry_next_at = NULL
            FROM passed WHERE x.run_id = passed.id AND NOT (x.status = 'handled')
        )
        SELECT array_cat(begun, array_agg(transaction_id)) INTO begun FROM passed;
    END IF;
"""

MOVE_ON = f"""
    IF finishes IS NOT NULL THEN
        WITH done AS (
            UPDATE transactions_transaction t
            SET status = ending.status, completed_at = GREATEST(statement_timestamp(), t.created_at), owner = NULL,
                wake_at = NULL
            FROM unnest(finishes, statuses) AS ending(id, status)
            WHERE t.id = ending.id AND t.id = ANY(current) AND t.status IN ({FINISHABLE})
            RETURNING t.flow_id, t.status,
                (EXTRACT(EPOCH FROM t.completed_at - t.created_at) * 1000)::bigint AS duration_ms
        )
        INSERT INTO dist_task_statdelta (flow_id, bucket, succeeded, failed, duration_ms)
        SELECT flow_id, date_bin('15 minutes', clock_timestamp(), 'epoch'),
               count(*) FILTER (WHERE status = 'success'), count(*) FILTER (WHERE status = 'failed'),
               COALESCE(sum(duration_ms) FILTER (WHERE status = 'success'), 0)
        FROM done GROUP BY flow_id;
    END IF;
    IF releases IS NOT NULL THEN
        UPDATE transactions_transaction t
        SET owner = NULL, wake_at = clock_timestamp() + released.delay * interval '1 second'
        FROM unnest(releases, delays) AS released(id, delay)
        WHERE t.id = released.id AND t.id = ANY(current);
    END IF;
"""  # noqa: S608  # statuses of ours

# Once all is undone nobody needs to look at what failed before, but for an unknown outcome that nothing undid.
UNDO = """
    IF compensations IS NOT NULL THEN
        WITH undoing AS (
            UPDATE transactions_transaction t SET compensation = 'running'
            WHERE t.id = ANY(compensations) AND t.id = ANY(current) AND t.compensation = 'none' RETURNING t.id
        )
        INSERT INTO dist_task_executionlog (transaction_id, event, actor)
        SELECT id, 'compensating', 'system' FROM undoing;
    END IF;
    IF compensated IS NOT NULL THEN
        WITH undone AS (
            UPDATE transactions_transaction t SET compensation = ending.outcome, owner = NULL, wake_at = NULL
            FROM unnest(compensated, outcomes) AS ending(id, outcome)
            WHERE t.id = ending.id AND t.id = ANY(current) AND t.compensation = 'running'
            RETURNING t.id, t.compensation
        ), logged AS (
            INSERT INTO dist_task_executionlog (transaction_id, event, actor, message)
            SELECT id, 'compensated', 'system', compensation FROM undone
        )
        UPDATE exceptions_app_exceptionrecord x
        SET status = 'handled', handled_at = clock_timestamp(), handled_by = 'system', retry_next_at = NULL,
            remark = 'The transaction was compensated.'
        FROM undone JOIN dist_task_taskrun r ON r.transaction_id = undone.id AND r.op = 'action'
        WHERE undone.compensation = 'done' AND x.run_id = r.id AND NOT (x.status = 'handled')
          AND (NOT r.maybe_executed OR EXISTS (
            SELECT FROM dist_task_taskrun back WHERE back.transaction_id = r.transaction_id
              AND back.task_id = r.task_id AND back.op = 'compensate' AND back.item = r.item));
    END IF;
END $body$
"""

RECORD_BATCH = SIGNATURE + GATE + FENCE + LOG_FENCED + END + BEGIN + SKIP + MOVE_ON + UNDO
CALL_RECORD_BATCH = """
PREPARE record_batch (bigint, bigint, bigint[], int[], jsonb, jsonb, bigint[], text[], bigint[], float8[], bigint[],
                      text[], bigint[], bigint[], text[], boolean, boolean) AS
SELECT mine, current, begun
FROM pg_temp.record_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
