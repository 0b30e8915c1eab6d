# ruff: noqa: S608  # what is put together here are constants of this package
"""What belongs to what: instance ids, flows, transactions."""

from __future__ import annotations

from .rule import Rule
from .sql import NAME, OF_TASK, RUNS

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
)
