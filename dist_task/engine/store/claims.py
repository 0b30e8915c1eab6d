"""Taking transactions, and reading what is needed to go on with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from dist_task import failpoints
from dist_task.states import RunKey, WaitsFor

Rows = Callable[[str, tuple[Any, ...]], Awaitable[list[tuple[Any, ...]]]]
"""Executes a statement with its parameters, and gives the rows that it returns."""

ALL_ITEMS = -2
"""In place of an item's number: all items of a task together."""
MOST_GATHERED_BYTES = 16 * 1_048_576
"""So much the outputs of all items of a task may have, as text, where another task looks at them."""
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
        due.fresh, t.owes_parent, t.paused, COALESCE(t.resumed_at, t.started_at) AS running_since
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
       completed_at IS NOT NULL, fresh, COALESCE(opened, false),
       owes_parent, paused, EXTRACT(EPOCH FROM statement_timestamp() - running_since)::float8
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
    SELECT id, instance_id, flow_id, revision, params, cancelling, compensation, completed_at IS NOT NULL, false, false,
           owes_parent, paused,
           COALESCE(EXTRACT(EPOCH FROM statement_timestamp() - COALESCE(resumed_at, started_at)), 0)::float8
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
    owes_parent: bool  # another transaction waits for its end
    paused: bool  # it is only held for attempts that are in flight
    running_seconds: float  # since it was first claimed, or was taken up again after it had failed or been paused


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
    def key(self) -> RunKey:
        return self.task_id, self.item

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


class Gathered(NamedTuple):
    """The outputs of all items in their order, None for one that gave none. Of a task that was skipped what an operator
    gave in their place, or None."""

    outputs: list[Any] | None
    fault: str = ""  # why they cannot be looked at


def done(cursor: Any, *, transaction_id: int, keys: Collection[RunKey]) -> dict[RunKey, tuple[Any, Any]]:
    """What task runs were given and what they gave: run to input and output of its forward run.

    With ALL_ITEMS as its item: what all items of the task gave (`Gathered`).
    """
    single = [key for key in keys if key[1] != ALL_ITEMS]
    found: dict[RunKey, tuple[Any, Any]] = dict.fromkeys(single, (None, None))
    if single:
        cursor.execute(
            """
            SELECT r.task_id, r.item, r.input, r.output
            FROM unnest(%s::text[], %s::int[]) AS named(task_id, item)
            JOIN dist_task_taskrun r ON r.transaction_id = %s AND r.task_id = named.task_id AND r.op = 'action'
             AND r.item = named.item
            """,
            ([task_id for task_id, _item in single], [item for _task_id, item in single], transaction_id),
        )
        found |= {(row[0], row[1]): (row[2], row[3]) for row in cursor.fetchall()}
    for task_id, item in keys:
        if item == ALL_ITEMS:
            found[task_id, item] = (None, _gathered(cursor, transaction_id=transaction_id, task_id=task_id))
    return found


def _gathered(cursor: Any, *, transaction_id: int, task_id: str) -> Gathered:
    of_task = {"transaction": transaction_id, "task": task_id}
    cursor.execute(
        """
        SELECT status, output, (
            SELECT sum(octet_length(output::text)) FROM dist_task_taskrun
            WHERE transaction_id = %(transaction)s AND task_id = %(task)s AND op = 'action' AND item >= 0)
        FROM dist_task_taskrun
        WHERE transaction_id = %(transaction)s AND task_id = %(task)s AND op = 'action' AND item = -1
        """,
        of_task,
    )
    status, output, size = cursor.fetchone() or (None, None, None)
    if status not in ("success", "failed"):  # skipped: by its condition, or by an operator who may have said a list
        return Gathered(output if status == "skipped" else None)
    if (size or 0) > MOST_GATHERED_BYTES:
        message = _("the outputs of all items of %(task)s have %(size)d bytes: at most %(most)d can be looked at")
        return Gathered(None, message % {"task": task_id, "size": size, "most": MOST_GATHERED_BYTES})
    cursor.execute(
        """
        SELECT output FROM dist_task_taskrun
        WHERE transaction_id = %(transaction)s AND task_id = %(task)s AND op = 'action' AND item >= 0 ORDER BY item
        """,
        of_task,
    )
    return Gathered([row[0] for row in cursor.fetchall()])


def definitions(cursor: Any, *, flow_ids: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Flow id to the definition's text and the registry entries pinned with it."""
    cursor.execute("SELECT id, definition, task_definitions FROM flows_flow WHERE id = ANY(%s)", (flow_ids,))
    return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}
