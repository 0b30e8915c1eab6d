# ruff: noqa: S608  # what is put together here are constants of this file
"""The rules. Each asks for the rows that break it: a select with one text column named `example`.

They may use `task` and `edge`, made of the flows' definitions: see `graph.GRAPH`.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Rule:
    """`number` is that of docs/guarantees.md. A warning is what may be right for a moment."""

    number: int
    name: str
    sentence: str
    sql: str
    is_warning: bool = False


RULES = (
    Rule(
        2,
        name="one_transaction_per_instance_id",
        sentence="One transaction per instance_id.",
        sql="SELECT instance_id AS example FROM transactions_transaction GROUP BY 1 HAVING count(*) > 1",
    ),
    Rule(
        4,
        name="run_of_its_flow",
        sentence="A transaction runs only tasks of its own flow version.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            WHERE t.flow_id IN (SELECT flow_id FROM known)
              AND NOT EXISTS (SELECT 1 FROM task d WHERE {OF_TASK})""",
    ),
    Rule(
        4,
        name="exception_of_its_flow",
        sentence="An exception belongs to the flow and the transaction of its task run.",
        sql=f"""SELECT {NAME} || ': exception ' || x.id AS example
            FROM exceptions_app_exceptionrecord x JOIN dist_task_taskrun r ON r.id = x.run_id
            JOIN transactions_transaction t ON t.id = r.transaction_id
            WHERE x.flow_id <> t.flow_id OR x.transaction_id <> t.id OR x.task_id <> r.task_id""",
    ),
    Rule(
        4,
        name="no_strays",
        sentence="Every task run and every log entry belongs to a transaction.",
        sql="""SELECT 'transaction ' || transaction_id AS example
            FROM (SELECT transaction_id FROM dist_task_taskrun UNION SELECT transaction_id FROM dist_task_executionlog)
            AS named WHERE NOT EXISTS (SELECT FROM transactions_transaction t WHERE t.id = named.transaction_id)""",
    ),
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
        10,
        name="final_is_completed",
        sentence="A transaction is final if and only if it has a time of completion; held then only to be undone.",
        sql="""SELECT t.instance_id AS example FROM transactions_transaction t
            WHERE (t.status IN ('success', 'failed', 'cancelled')) <> (t.completed_at IS NOT NULL)
               OR (t.completed_at IS NOT NULL AND t.compensation <> 'running'
                   AND (t.owner IS NOT NULL OR t.wake_at IS NOT NULL))
               OR (t.completed_at IS NOT NULL AND (t.cancelling OR (t.paused AND t.compensation <> 'running')))""",
    ),
    Rule(
        10,
        name="run_final_is_finished",
        sentence="A task run is final if and only if it has a time of finish; a pending one says when it is due.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            WHERE (r.status IN ('success', 'failed', 'skipped', 'cancelled')) <> (r.finished_at IS NOT NULL)
               OR (r.status = 'running' AND r.started_at IS NULL) OR (r.status = 'pending' AND r.due_at IS NULL)""",
    ),
    Rule(
        10,
        name="final_has_nothing_left",
        sentence="A final transaction has no task run that is not final, unless it is being undone.",
        sql=f"""SELECT {NAME} || ' ' || r.status AS example FROM {RUNS}
            WHERE t.completed_at IS NOT NULL AND r.status IN ('pending', 'running', 'waiting')
              AND (r.op = 'action' OR t.compensation <> 'running')""",
    ),
    Rule(
        10,
        name="success_is_complete",
        sentence="A successful transaction has all tasks of its flow succeeded, skipped, or failed as optional ones.",
        sql="""SELECT t.instance_id || '/' || d.task_id AS example
            FROM transactions_transaction t JOIN task d ON d.flow_id = t.flow_id AND d.op = 'action'
            LEFT JOIN dist_task_taskrun r ON r.transaction_id = t.id AND r.task_id = d.task_id AND r.op = 'action'
            WHERE t.status = 'success'
              AND NOT COALESCE(r.status IN ('success', 'skipped') OR (r.status = 'failed' AND d.optional), false)""",
    ),
    Rule(
        10,
        name="items_are_complete",
        sentence="Of a successful task with items each has succeeded or was skipped; items belong to such a task.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} JOIN task d ON {OF_TASK} AND d.has_items
            WHERE r.op = 'action' AND r.item = -1 AND r.status = 'success'
              AND {LENGTH_OF_LIST.format("r")} <> (
                SELECT count(*) FROM {ITEM_OF_RUN} AND i.status IN ('success', 'skipped'))
            UNION ALL
            SELECT {NAME} FROM {RUNS} WHERE r.item >= 0 AND NOT EXISTS (
                SELECT 1 FROM dist_task_taskrun i WHERE i.transaction_id = r.transaction_id
                  AND i.task_id = r.task_id AND i.op = r.op AND i.item = -1)""",
    ),
    Rule(
        10,
        name="items_of_the_list",
        sentence="An item is one of the list with which its task began.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            JOIN dist_task_taskrun whole ON whole.transaction_id = r.transaction_id AND whole.task_id = r.task_id
             AND whole.op = 'action' AND whole.item = -1
            WHERE r.item >= {LENGTH_OF_LIST.format("whole")} AND r.item >= 0""",
    ),
    Rule(
        10,
        name="items_end_first",
        sentence="A task with items has ended, or is to begin again, only while none of them is under way.",
        sql=f"""SELECT {NAME} || ' ' || r.status || ', its task ' || whole.status AS example FROM {RUNS}
            JOIN dist_task_taskrun whole ON whole.transaction_id = r.transaction_id AND whole.task_id = r.task_id
             AND whole.op = r.op AND whole.item = -1
            WHERE r.item >= 0 AND (r.status IN ('running', 'waiting') AND whole.status <> 'waiting'
                OR r.status = 'pending' AND whole.finished_at IS NOT NULL)""",
    ),
    Rule(
        10,
        name="child_of_a_run",
        sentence="What a transaction has started belongs to a task run of it, and no two to the same one.",
        sql="""SELECT c.instance_id AS example FROM transactions_transaction c
            JOIN transactions_transaction p ON p.id = c.parent_id
            WHERE NOT EXISTS (SELECT FROM dist_task_taskrun r WHERE r.transaction_id = p.id
                AND r.task_id = c.parent_task_id AND r.op = c.parent_op AND r.item = c.parent_item)
            UNION ALL
            SELECT min(instance_id) FROM transactions_transaction WHERE parent_id IS NOT NULL
            GROUP BY parent_id, parent_task_id, parent_op, parent_item HAVING count(*) > 1""",
    ),
    Rule(
        10,
        name="child_succeeded",
        sentence="A subflow that succeeded has a transaction that did.",
        sql=f"""SELECT c.instance_id AS example FROM {CHILD_OF_RUN} AND r.op = c.parent_op
            WHERE r.status = 'success' AND c.status <> 'success'""",
    ),
    Rule(
        10,
        name="rerun_of_an_ended_one",
        sentence="What was run again has ended for good, and is the same flow with the same params.",
        sql="""SELECT a.instance_id AS example FROM transactions_transaction a
            JOIN transactions_transaction t ON t.id = a.rerun_of_id
            WHERE t.completed_at IS NULL OR t.completed_at > a.created_at OR t.flow_id <> a.flow_id
               OR t.params <> a.params OR t.parent_id IS NOT NULL OR NOT t.was_run_again""",
    ),
    Rule(
        10,
        name="carried_over_was_given",
        sentence="What a transaction has carried over its first one has, as something that stands.",
        sql="""SELECT a.instance_id || '/' || l.task_id AS example
            FROM dist_task_executionlog l JOIN transactions_transaction a ON a.id = l.transaction_id
            JOIN transactions_transaction t ON t.id = a.rerun_of_id
            JOIN dist_task_taskrun c ON c.transaction_id = a.id AND c.task_id = l.task_id AND c.op = 'action'
             AND c.item = -1
            LEFT JOIN task d ON d.flow_id = t.flow_id AND d.task_id = l.task_id AND d.op = 'action'
            LEFT JOIN dist_task_taskrun r ON r.transaction_id = t.id AND r.task_id = l.task_id AND r.op = 'action'
             AND r.item = -1
            WHERE l.event = 'carried_over' AND (c.status <> 'skipped' OR r.id IS NULL
                OR NOT (r.status IN ('success', 'skipped') OR (r.status = 'failed' AND d.optional))
                OR (NOT d.has_items AND c.output IS DISTINCT FROM r.output))""",
    ),
    Rule(
        10,
        name="failed_has_a_failure",
        sentence="A failed transaction has a failed task that is not optional.",
        sql=f"""SELECT t.instance_id AS example FROM transactions_transaction t
            WHERE t.status = 'failed' AND t.flow_id IN (SELECT flow_id FROM known) AND NOT EXISTS (
                SELECT 1 FROM dist_task_taskrun r JOIN task d ON {OF_TASK}
                WHERE r.transaction_id = t.id AND r.op = 'action' AND r.status = 'failed' AND NOT d.optional)""",
    ),
    Rule(
        10,
        name="constraints",
        sentence="The constraints that refuse illegal rows are in place.",
        sql="""SELECT name AS example FROM unnest(ARRAY['taskrun_unique', 'taskrun_final_iff_finished',
                'transaction_final_iff_completed', 'exception_one_open_per_run', 'statrollup_flow_bucket']) AS name
            WHERE NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = name AND convalidated)
              AND NOT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(name) AND indisvalid)""",
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
        15,
        name="child_is_undone",
        sentence="Where compensation is done, what a subflow has started and undoes itself is undone, too.",
        sql="""SELECT c.instance_id AS example FROM transactions_transaction c
            JOIN transactions_transaction t ON t.id = c.parent_id
            JOIN task d ON d.flow_id = t.flow_id AND d.task_id = c.parent_task_id AND d.op = 'compensate'
             AND d.undoes_child
            WHERE t.compensation = 'done' AND c.parent_op = 'action' AND (c.completed_at IS NULL
                OR (c.compensation <> 'done' AND EXISTS (SELECT FROM dist_task_taskrun r
                    WHERE r.transaction_id = c.id AND r.op = 'action'
                      AND (r.status = 'success' OR r.maybe_executed))))""",
    ),
    Rule(
        15,
        name="rerun_is_undone_first",
        sentence="What was run again is undone only after the one that stands on it.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} JOIN transactions_transaction a ON a.rerun_of_id = t.id
            WHERE r.op = 'compensate' AND r.started_at > a.created_at AND a.compensation <> 'done'""",
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
        name="child_will_tell",
        sentence="A task that waits for another transaction will be told how that ends.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS}
            WHERE r.status = 'waiting' AND r.waits_for = 'child' AND NOT EXISTS (
                SELECT FROM transactions_transaction c WHERE c.parent_id = t.id AND c.parent_task_id = r.task_id
                AND c.parent_item = r.item AND c.parent_op IN (r.op, 'action') AND {WILL_TELL})""",
    ),
    Rule(
        18,
        name="owes_its_parent",
        sentence="A transaction that another one has started owes it an answer until it has ended; others owe nobody.",
        sql="""SELECT c.instance_id AS example FROM transactions_transaction c
            WHERE (c.owes_parent AND c.parent_id IS NULL) OR (NOT c.owes_parent AND c.parent_id IS NOT NULL
                AND (c.completed_at IS NULL OR c.compensation = 'running'))""",
    ),
    Rule(
        18,
        name="parent_untold",
        sentence="It ended over a minute ago, and the transaction that has started it was not told.",
        sql="""SELECT c.instance_id AS example FROM transactions_transaction c
            WHERE c.owes_parent AND c.completed_at < statement_timestamp() - interval '1 minute'
              AND c.compensation <> 'running' AND NOT EXISTS (SELECT FROM dist_task_executionlog l
                WHERE l.transaction_id = c.id AND l.at > statement_timestamp() - interval '1 minute')""",
        is_warning=True,
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
    Rule(
        21,
        name="one_open_exception",
        sentence="A task run has at most one exception that is not handled.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} JOIN exceptions_app_exceptionrecord x ON x.run_id = r.id
            WHERE x.status <> 'handled' GROUP BY t.id, r.id HAVING count(*) > 1""",
    ),
    Rule(
        21,
        name="retrying_has_a_run",
        sentence="A retrying exception has a run that is under way, an open one has a run that ended badly.",
        sql=f"""SELECT {NAME} || ': exception ' || x.id || ' ' || x.status || ', run ' || r.status AS example
            FROM {RUNS} JOIN exceptions_app_exceptionrecord x ON x.run_id = r.id
            WHERE (x.status = 'retrying' AND r.status NOT IN ('pending', 'running', 'waiting'))
               OR (x.status = 'open' AND r.status NOT IN ('failed', 'cancelled'))
               OR (x.status = 'handled') <> (x.handled_at IS NOT NULL)""",
    ),
    Rule(
        23,
        name="statistics_unfinished",
        sentence="The statistics say exactly how many transactions are unfinished, pruned or not.",
        sql="""SELECT flow_id || ': counted ' || c.created - c.ended || ', there are ' || COALESCE(n.unfinished, 0)
                AS example
            FROM counted c FULL JOIN present n USING (flow_id)
            WHERE COALESCE(c.created - c.ended, 0) <> COALESCE(n.unfinished, 0)""",
    ),
    Rule(
        23,
        name="statistics_recount",
        sentence="The statistics are never below a recount, and equal to it where nothing was ever pruned.",
        sql="""SELECT flow_id || ': counted ' || COALESCE(c.figures, '{0,0,0,0,0}')::text || ', there are '
                || n.figures::text AS example
            FROM counted c RIGHT JOIN present n USING (flow_id)
            WHERE EXISTS (SELECT 1 FROM unnest(COALESCE(c.figures, '{0,0,0,0,0}'), n.figures) AS f(counted, found)
                WHERE f.counted < f.found)""",
    ),
    Rule(
        23,
        name="statistics_never_pruned",
        sentence="Where nothing was ever pruned, the statistics equal a recount.",
        sql="""SELECT flow_id || ': counted ' || c.figures::text || ', there are '
                || COALESCE(n.figures, '{0,0,0,0,0}')::text AS example
            FROM counted c LEFT JOIN present n USING (flow_id)
            WHERE c.figures <> COALESCE(n.figures, '{0,0,0,0,0}')""",
    ),
    Rule(
        24,
        name="no_negative_duration",
        sentence="Nothing ends before it began.",
        sql=f"""SELECT t.instance_id AS example FROM transactions_transaction t WHERE t.completed_at < t.created_at
            UNION ALL SELECT {NAME} FROM {RUNS} WHERE r.finished_at < r.started_at
            UNION ALL SELECT t.instance_id || '/' || l.task_id FROM dist_task_executionlog l
            JOIN transactions_transaction t ON t.id = l.transaction_id WHERE l.at < l.started_at
            UNION ALL SELECT 'exception ' || id FROM exceptions_app_exceptionrecord WHERE handled_at < opened_at""",
    ),
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

NEVER_PRUNED = "statistics_never_pruned"

ELSEWHERE = {
    1: "an answered start survives (the campaign keeps the answers)",
    3: "a refused start leaves nothing (tests of the API; the campaign)",
    19: "a poison transaction delays nobody (tests/safety)",
    20: "the same idempotency key on all attempts (the called service of the campaign sees it)",
    22: "the log is append-only: no code path changes it, no trigger enforces it",
}
"""What rows alone cannot show, and who shows it."""
