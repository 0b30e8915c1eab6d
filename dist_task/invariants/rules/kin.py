# ruff: noqa: S608  # what is put together here are constants of this package
"""Transactions that others have started, and those that are run again."""

from __future__ import annotations

from .rule import Rule
from .sql import CHILD_OF_RUN, NAME, RUNS, WILL_TELL

RULES = (
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
        15,
        name="rerun_is_undone_first",
        sentence="What was run again is undone only after the one that stands on it.",
        sql=f"""SELECT {NAME} AS example FROM {RUNS} JOIN transactions_transaction a ON a.rerun_of_id = t.id
            WHERE r.op = 'compensate' AND r.started_at > a.created_at AND a.compensation <> 'done'""",
    ),
)
