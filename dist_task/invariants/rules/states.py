# ruff: noqa: S608  # what is put together here are constants of this package
"""How transactions, runs and items stand, and what that says of each other."""

from __future__ import annotations

from .rule import Rule
from .sql import ITEM_OF_RUN, LENGTH_OF_LIST, NAME, OF_TASK, RUNS

RULES = (
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
        24,
        name="no_negative_duration",
        sentence="Nothing ends before it began.",
        sql=f"""SELECT t.instance_id AS example FROM transactions_transaction t WHERE t.completed_at < t.created_at
            UNION ALL SELECT {NAME} FROM {RUNS} WHERE r.finished_at < r.started_at
            UNION ALL SELECT t.instance_id || '/' || l.task_id FROM dist_task_executionlog l
            JOIN transactions_transaction t ON t.id = l.transaction_id WHERE l.at < l.started_at
            UNION ALL SELECT 'exception ' || id FROM exceptions_app_exceptionrecord WHERE handled_at < opened_at""",
    ),
)
