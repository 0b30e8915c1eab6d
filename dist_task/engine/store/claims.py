"""Taking transactions, and reading what is needed to go on with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dist_task import failpoints

DUE_ALREADY_SECONDS = 0.005
"""A run that is due within this is due: the clocks of worker and database are read some time apart."""


@dataclass(frozen=True, slots=True)
class Claimed:
    transaction_id: int
    instance_id: str
    flow_id: str
    revision: int
    params: dict[str, Any]
    cancelling: bool
    fresh: bool  # never claimed before: it has no runs to read


@dataclass(frozen=True, slots=True)
class StoredRun:
    transaction_id: int
    task_id: str
    op: str
    item: int
    status: str
    attempt: int
    budget: int
    due_in_seconds: float
    input: Any


@dataclass(frozen=True, slots=True)
class Harvest:
    """What one look for work found; `next_due_in_seconds` is None when nothing else is scheduled."""

    claimed: list[Claimed]
    runs: list[StoredRun]
    next_due_in_seconds: float | None


def harvest(cursor: Any, *, worker_id: int, limit: int, look_ahead: bool = True) -> Harvest:
    """Claims due transactions with their runs; with `look_ahead` it says when the next one falls due."""
    failpoints.hit("claim.before")
    claimed = claim(cursor, worker_id=worker_id, limit=limit)
    if claimed:
        failpoints.hit("claim.after")
    runs = load_runs(cursor, transaction_ids=[each.transaction_id for each in claimed if not each.fresh])
    next_due = next_due_in_seconds(cursor) if look_ahead and len(claimed) < limit else 0.0
    return Harvest(claimed, runs, next_due)


def claim(cursor: Any, *, worker_id: int, limit: int) -> list[Claimed]:
    """Due transactions become this worker's, if its own lease is alive; those that it holds and a verb touched, too.

    `statement_timestamp()` and not `clock_timestamp()`: a volatile function cannot bound the scan of an index.
    """
    cursor.execute(
        """
        WITH me AS MATERIALIZED (
            SELECT id FROM dist_task_worker
            WHERE id = %(worker)s AND lease_until > clock_timestamp() FOR KEY SHARE
        ), due AS MATERIALIZED (
            SELECT t.id, t.started_at FROM transactions_transaction t
            WHERE t.wake_at <= statement_timestamp() AND (t.owner IS NULL OR t.owner = %(worker)s)
              AND EXISTS (SELECT 1 FROM me)
            ORDER BY t.wake_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE transactions_transaction t
        SET owner = %(worker)s, wake_at = NULL, started_at = COALESCE(t.started_at, clock_timestamp()),
            status = CASE t.status WHEN 'pending' THEN 'running' ELSE t.status END
        FROM due WHERE t.id = due.id
        RETURNING t.id, t.instance_id, t.flow_id, t.revision, t.params, t.cancelling, due.started_at IS NULL
        """,
        {"worker": worker_id, "limit": limit},
    )
    return [Claimed(*row) for row in cursor.fetchall()]


def load_runs(cursor: Any, *, transaction_ids: list[int]) -> list[StoredRun]:
    if not transaction_ids:
        return []
    cursor.execute(
        """
        SELECT transaction_id, task_id, op, item, status, attempt, attempt_budget,
               COALESCE(EXTRACT(EPOCH FROM due_at - clock_timestamp()), 0)::float8,
               CASE WHEN status IN ('pending', 'running') THEN input END
        FROM dist_task_taskrun WHERE transaction_id = ANY(%s)
        """,
        (transaction_ids,),
    )
    return [StoredRun(*row) for row in cursor.fetchall()]


def reload(cursor: Any, *, worker_id: int, transaction_id: int) -> tuple[Claimed, list[StoredRun]] | None:
    """The present state of a transaction that this worker holds; None when it holds it no longer."""
    cursor.execute(
        """
        SELECT id, instance_id, flow_id, revision, params, cancelling, false
        FROM transactions_transaction WHERE id = %s AND owner = %s
        """,
        (transaction_id, worker_id),
    )
    row = cursor.fetchone()
    return (Claimed(*row), load_runs(cursor, transaction_ids=[transaction_id])) if row else None


def owned(cursor: Any, *, worker_id: int) -> tuple[list[Claimed], list[StoredRun]]:
    """All that this worker holds: after a lost connection it may hold more than it was told."""
    cursor.execute(
        """
        SELECT id, instance_id, flow_id, revision, params, cancelling, false
        FROM transactions_transaction WHERE owner = %s
        """,
        (worker_id,),
    )
    claimed = [Claimed(*row) for row in cursor.fetchall()]
    return claimed, load_runs(cursor, transaction_ids=[each.transaction_id for each in claimed])


def next_due_in_seconds(cursor: Any) -> float | None:
    cursor.execute(
        """
        SELECT EXTRACT(EPOCH FROM wake_at - clock_timestamp())::float8 FROM transactions_transaction
        WHERE wake_at IS NOT NULL AND owner IS NULL ORDER BY wake_at LIMIT 1
        """
    )
    row = cursor.fetchone()
    return row[0] if row else None


def definitions(cursor: Any, *, flow_ids: list[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Flow id to the definition's text and the registry entries pinned with it."""
    cursor.execute("SELECT id, definition, task_definitions FROM flows_flow WHERE id = ANY(%s)", (flow_ids,))
    return {row[0]: (row[1], row[2]) for row in cursor.fetchall()}
