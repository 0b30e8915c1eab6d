# ruff: noqa: S608  # what is put together here are constants of this package
"""Task runs: their order, their attempts, and what these left."""

from __future__ import annotations

from .rule import Rule
from .sql import ATTEMPT_EVENTS, COMPLETED, ENDED, ENDED_OF_RUN, ITEM_OF_RUN, NAME, OF_RUN, OF_TASK, RETRIED, RUNS

RULES = (
    Rule(
        5,
        name="order",
        sentence="No task starts before all that it depends on has succeeded or was skipped.",
        sql=f"""WITH began AS (
                SELECT transaction_id, task_id, min(started_at) AS at FROM (
                    SELECT transaction_id, task_id, started_at FROM dist_task_taskrun WHERE op = 'action'
                    UNION ALL
                    SELECT transaction_id, task_id, started_at FROM dist_task_executionlog
                    WHERE op = 'action' AND event IN {ATTEMPT_EVENTS}) AS starts
                WHERE started_at IS NOT NULL GROUP BY 1, 2
            ), settled AS (
                SELECT transaction_id, task_id, min(at) AS ended_at, min(done_at) AS done_at FROM (
                    SELECT transaction_id, task_id, at,
                        CASE WHEN event IN ('succeeded', 'completed') THEN at END AS done_at
                    FROM dist_task_executionlog
                    WHERE op = 'action' AND item = -1 AND (event IN {ATTEMPT_EVENTS} OR event = 'completed')
                    UNION ALL
                    SELECT transaction_id, task_id, finished_at, finished_at
                    FROM dist_task_taskrun WHERE op = 'action' AND item = -1 AND status = 'skipped') AS ends
                GROUP BY 1, 2
            )
            SELECT t.instance_id || '/' || e.task_id || ' before ' || e.needs AS example
            FROM began b JOIN transactions_transaction t ON t.id = b.transaction_id
            JOIN edge e ON e.flow_id = t.flow_id AND e.task_id = b.task_id
            JOIN task d ON d.flow_id = e.flow_id AND d.task_id = e.needs AND d.op = 'action'
            LEFT JOIN settled s ON s.transaction_id = b.transaction_id AND s.task_id = e.needs
            WHERE COALESCE(CASE WHEN d.optional THEN s.ended_at ELSE s.done_at END, 'infinity') > b.at""",
    ),
    Rule(
        6,
        name="one_success",
        sentence="At most one success is recorded per task run, by a worker or by hand, and it stays one.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} LEFT JOIN {ENDED} e ON {OF_RUN.format("e")}
            WHERE COALESCE(e.successes, 0) + {COMPLETED} <> CASE r.status WHEN 'success' THEN 1 ELSE 0 END""",
    ),
    Rule(
        7,
        name="attempts_counted",
        sentence="Attempts are 1..n without gaps, each ended one logged once, the last one being the run's.",
        sql=f"""SELECT {NAME} || ': attempt ' || r.attempt || ', logged ' || COALESCE(e.n, 0) AS example
            FROM {RUNS} LEFT JOIN {ENDED} e ON {OF_RUN.format("e")}
            WHERE (COALESCE(e.n, 0), COALESCE(e.different, 0), COALESCE(e.last, 0))
               <> ({ENDED_OF_RUN}, {ENDED_OF_RUN}, {ENDED_OF_RUN})""",
    ),
    Rule(
        7,
        name="attempts_of_a_run",
        sentence="No attempt is logged of a task run that does not exist.",
        sql=f"""SELECT t.instance_id || '/' || e.task_id AS example
            FROM {ENDED} e JOIN transactions_transaction t ON t.id = e.transaction_id
            LEFT JOIN dist_task_taskrun r ON {OF_RUN.format("e")} WHERE r.id IS NULL""",
    ),
    Rule(
        8,
        name="worker_ids",
        sentence="A worker's id is never used twice: the sequence is beyond every id in use.",
        sql="""SELECT 'worker ' || u.id AS example
            FROM (SELECT max(id) AS id FROM dist_task_worker
                  UNION ALL SELECT max(owner) FROM transactions_transaction WHERE owner IS NOT NULL) AS u
            WHERE u.id > COALESCE(
                pg_sequence_last_value(pg_get_serial_sequence('dist_task_worker', 'id')::regclass), 0)""",
    ),
    Rule(
        9,
        name="late_results",
        sentence="A late result that was refused changed nothing: its attempt is one that the run has counted.",
        sql=f"""SELECT {NAME} || ' attempt ' || l.attempt AS example
            FROM dist_task_executionlog l JOIN transactions_transaction t ON t.id = l.transaction_id
            LEFT JOIN dist_task_taskrun r ON {OF_RUN.format("l")}
            WHERE l.event = 'fenced' AND l.task_id <> '' AND l.attempt > COALESCE(r.attempt, 0)""",
    ),
    Rule(
        11,
        name="budget",
        sentence="Attempts, crashes included, stay within what the policy and people's retries allow.",
        sql=f"""SELECT {NAME} || ': attempt ' || r.attempt AS example
            FROM {RUNS} JOIN task d ON {OF_TASK}
            WHERE r.attempt > r.attempt_budget OR r.attempt > d.tries * (1 + (
                SELECT count(*) FROM dist_task_executionlog l WHERE r.attempt > d.tries AND {RETRIED}))""",
    ),
    Rule(
        12,
        name="never_by_itself",
        sentence="Strategy manual and no_retry: before each further attempt a person asked for it.",
        sql=f"""SELECT {NAME} || ': attempt ' || a.attempt AS example
            FROM {RUNS} JOIN task d ON {OF_TASK}
            JOIN (SELECT transaction_id, task_id, op, item, attempt, id FROM dist_task_executionlog
                  WHERE event IN {ATTEMPT_EVENTS} AND attempt > 1
                  UNION ALL
                  SELECT transaction_id, task_id, op, item, attempt, {2**62} FROM dist_task_taskrun
                  WHERE status = 'running' AND attempt > 1) AS a ON {OF_RUN.format("a")}
            WHERE d.strategy <> 'auto' AND a.attempt - 1 > (
                SELECT count(*) FROM dist_task_executionlog l WHERE {RETRIED} AND l.id < a.id)""",
    ),
    Rule(
        12,
        name="failure_is_seen",
        sentence="A failed attempt and an unknown outcome have an exception.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} WHERE (r.status = 'failed' OR r.maybe_executed)
              AND NOT EXISTS (SELECT 1 FROM exceptions_app_exceptionrecord x WHERE x.run_id = r.id)
              AND NOT (r.item = -1 AND EXISTS (SELECT 1 FROM {ITEM_OF_RUN} AND i.status = 'failed'))""",
    ),
    Rule(
        12,
        name="unknown_is_remembered",
        sentence="A run with an attempt of unknown outcome says that it may have been executed.",
        sql=f"""SELECT DISTINCT {NAME} AS example FROM {RUNS} JOIN dist_task_executionlog l ON {OF_RUN.format("l")}
            WHERE l.event IN ('unknown', 'worker_lost') AND NOT r.maybe_executed""",
    ),
    Rule(
        13,
        name="pause",
        sentence="An automatic retry keeps the pause of its policy.",
        sql=f"""SELECT {NAME} || ': attempt ' || b.attempt AS example
            FROM {RUNS} JOIN task d ON {OF_TASK} AND d.pause > 0
            JOIN dist_task_executionlog a ON {OF_RUN.format("a")} AND a.event IN {ATTEMPT_EVENTS}
            JOIN dist_task_executionlog b ON {OF_RUN.format("b")} AND b.event IN {ATTEMPT_EVENTS}
             AND b.attempt = a.attempt + 1
            WHERE b.started_at < a.at + (d.pause * 0.99 - 0.05) * interval '1 second'
              AND NOT EXISTS (SELECT 1 FROM dist_task_executionlog l WHERE {RETRIED})""",
    ),
)
