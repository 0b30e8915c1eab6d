"""Taking transactions, and reading what is needed to go on with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

from dist_task import failpoints
from dist_task.states import WaitsFor

Rows = Callable[[str, tuple[Any, ...]], Awaitable[list[tuple[Any, ...]]]]
"""Executes a statement with its parameters, and gives the rows that it returns."""

LEAD_SECONDS = 0.005
"""So much before it falls due a transaction is claimed and its attempt begun; the call waits for the moment itself."""


CLAIM = f"""
PREPARE claim_due (bigint, int, boolean, jsonb) AS
WITH me AS MATERIALIZED (
    SELECT id FROM dist_task_worker WHERE id = $1 AND lease_until > clock_timestamp() FOR KEY SHARE
), due AS MATERIALIZED (
    -- statement_timestamp() and not clock_timestamp(): a volatile function cannot bound the scan of an index
    SELECT t.id, t.started_at IS NULL AND t.revision = 0 AS fresh FROM transactions_transaction t
    WHERE t.wake_at <= statement_timestamp() + interval '{LEAD_SECONDS} seconds'
      AND (t.owner IS NULL OR t.owner = $1) AND EXISTS (SELECT 1 FROM me)
    ORDER BY t.wake_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE transactions_transaction t
    SET owner = $1, wake_at = NULL, started_at = COALESCE(t.started_at, statement_timestamp()),
        status = CASE t.status WHEN 'pending' THEN 'running' ELSE t.status END
    FROM due WHERE t.id = due.id
    RETURNING t.id, t.instance_id, t.flow_id, t.revision, t.params, t.cancelling, t.compensation, t.completed_at,
        due.fresh
), placed AS MATERIALIZED (
    SELECT taken.*, fresh AND row_number() OVER (PARTITION BY flow_id, fresh) <= ($4 -> flow_id -> 'most')::int
        AS opened
    FROM taken
), begun AS (
    INSERT INTO dist_task_taskrun
        (transaction_id, task_id, status, attempt, attempt_budget, input, started_at, begun_by)
    SELECT placed.id, root.task_id, 'running', 1, root.budget,
           CASE jsonb_typeof(own.value) WHEN 'object' THEN own.value WHEN 'null' THEN '{{}}' END,
           statement_timestamp(), $1
    FROM placed
    CROSS JOIN jsonb_to_recordset($4 -> flow_id -> 'roots') AS root(task_id text, task_name text, budget int)
    CROSS JOIN LATERAL (
        SELECT CASE WHEN params ? root.task_id THEN params -> root.task_id
            WHEN params ? root.task_name THEN params -> root.task_name ELSE params END AS value
    ) AS own
    WHERE opened
)
SELECT ahead.due_in, placed.id, instance_id, flow_id, revision, params, cancelling, compensation,
       completed_at IS NOT NULL, fresh, COALESCE(opened, false)
FROM (SELECT CASE WHEN $3 THEN (
    SELECT EXTRACT(EPOCH FROM wake_at - clock_timestamp())::float8 FROM transactions_transaction
    WHERE wake_at > statement_timestamp() + interval '{LEAD_SECONDS} seconds' AND owner IS NULL ORDER BY wake_at LIMIT 1
) END AS due_in) AS ahead LEFT JOIN placed ON true
"""  # noqa: S608  # a number of ours
"""$1 the worker, $2 how many at most, $3 whether to say when the next falls due, $4 flow id to `roots`, the tasks that
a fresh transaction begins with, and `most`, how many transactions may begin so now."""

RUNS = """
    SELECT transaction_id, task_id, op, item, status, attempt, attempt_budget,
           COALESCE(EXTRACT(EPOCH FROM due_at - clock_timestamp()), 0)::float8,
           CASE WHEN status IN ('pending', 'running', 'waiting') THEN input END, begun_by, error_code, maybe_executed,
           due_at IS NULL, waits_for, answer, EXTRACT(EPOCH FROM deadline_at - clock_timestamp())::float8,
           COALESCE(EXTRACT(EPOCH FROM clock_timestamp() - started_at), 0)::float8
    FROM dist_task_taskrun WHERE transaction_id = ANY(%s)
"""
EXECUTE_CLAIM = "EXECUTE claim_due(%s, %s, %s, %s)"
OWNED = """
    SELECT id, instance_id, flow_id, revision, params, cancelling, compensation, completed_at IS NOT NULL, false, false
    FROM transactions_transaction
"""


class Claimed(NamedTuple):
    transaction_id: int
    instance_id: str
    flow_id: str
    revision: int
    params: dict[str, Any]
    cancelling: bool
    compensation: str
    has_ended: bool  # its forward work: such a one is claimed to be undone only
    fresh: bool  # never claimed before: it has no runs to read
    opened: bool  # the attempts of the flow's first tasks were begun with the claim


class StoredRun(NamedTuple):
    transaction_id: int
    task_id: str
    op: str
    item: int
    status: str
    attempt: int
    budget: int
    due_in_seconds: float
    input: Any
    begun_by: int | None  # the worker that began the last attempt
    error_code: str
    maybe_executed: bool
    is_never_due: bool
    waits_for: str  # a WaitsFor, while it waits
    answer: dict[str, Any] | None  # see verbs.answer
    seconds_left: float | None  # until its deadline
    begun_ago_seconds: float  # since its attempt first began

    @property
    def is_ongoing(self) -> bool:
        """A service says that it is at it, and is asked again, perhaps right now."""
        return self.waits_for == WaitsFor.SERVICE


class Harvest(NamedTuple):
    """What one look for work found; `next_due_in_seconds` is None when nothing else is scheduled, or nobody asked."""

    claimed: list[Claimed]
    runs: list[StoredRun]
    next_due_in_seconds: float | None


async def harvest(rows: Rows, *, worker_id: int, limit: int, look_ahead: bool, openings: bytes | None) -> Harvest:
    """Claims due transactions with their runs; with `look_ahead` it says when the next one falls due."""
    failpoints.hit("claim.before")
    given = claim_parameters(worker_id=worker_id, limit=limit, look_ahead=look_ahead, openings=openings)
    claimed, next_due = read_claim(await rows(EXECUTE_CLAIM, given))
    if claimed:
        failpoints.hit("claim.after")
    ids = [each.transaction_id for each in claimed if not each.fresh]
    runs = [StoredRun(*row) for row in await rows(RUNS, (ids,))] if ids else []
    return Harvest(claimed, runs, next_due)


def claim_parameters(
    *, worker_id: int, limit: int, look_ahead: bool = False, openings: bytes | None = None
) -> tuple[Any, ...]:
    """Due transactions become this worker's, if its own lease is alive; those that it holds and a verb touched, too.

    With `openings` (see CLAIM) the first attempts of fresh transactions begin in the same commit.
    """
    return worker_id, limit, look_ahead, openings.decode() if openings else None


def read_claim(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Claimed], float | None]:
    """What was claimed, and in how many seconds the next one falls due."""
    return [Claimed(*row[1:]) for row in rows if row[1] is not None], rows[0][0]


def load_runs(cursor: Any, *, transaction_ids: list[int]) -> list[StoredRun]:
    if not transaction_ids:
        return []
    cursor.execute(RUNS, (transaction_ids,))
    return [StoredRun(*row) for row in cursor.fetchall()]


def reload(cursor: Any, *, worker_id: int, transaction_id: int) -> tuple[Claimed, list[StoredRun]] | None:
    """The present state of a transaction that this worker holds; None when it holds it no longer."""
    cursor.execute(f"{OWNED} WHERE id = %s AND owner = %s", (transaction_id, worker_id))
    row = cursor.fetchone()
    return (Claimed(*row), load_runs(cursor, transaction_ids=[transaction_id])) if row else None


def owned(cursor: Any, *, worker_id: int) -> list[Claimed]:
    """All that this worker holds: after a lost connection it may hold more than it was told."""
    cursor.execute(f"{OWNED} WHERE owner = %s", (worker_id,))
    return [Claimed(*row) for row in cursor.fetchall()]


def done(cursor: Any, *, transaction_id: int, task_ids: Collection[str]) -> dict[str, tuple[Any, Any]]:
    """What tasks of a transaction were given and what they gave: task id to input and output of its forward run."""
    cursor.execute(
        """
        SELECT task_id, input, output FROM dist_task_taskrun
        WHERE transaction_id = %s AND task_id = ANY(%s) AND op = 'action' AND item = -1
        """,
        (transaction_id, list(task_ids)),
    )
    return dict.fromkeys(task_ids, (None, None)) | {row[0]: (row[1], row[2]) for row in cursor.fetchall()}


def definitions(cursor: Any, *, flow_ids: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Flow id to the definition's text and the registry entries pinned with it."""
    cursor.execute("SELECT id, definition, task_definitions FROM flows_flow WHERE id = ANY(%s)", (flow_ids,))
    return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}
