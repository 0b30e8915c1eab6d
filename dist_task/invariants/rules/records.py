# ruff: noqa: S608  # what is put together here are constants of this package
"""What is told of it: exceptions, statistics."""

from __future__ import annotations

from .rule import Rule
from .sql import NAME, RUNS

RULES = (
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
)
