"""A request becomes rows: transactions are inserted first, and what that did is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dist_task.database import Prepared
from dist_task.payload import dumps

from . import leases


class NewRow(NamedTuple):
    instance_id: str
    flow_id: str
    params: dict[str, Any]
    actor: str


STARTS_PER_WORKER = 16
"""For so many one idle worker is woken: a second one would only get in its way."""

MOST_WAIT_MS = 3_000
"""For a lock that somebody else holds; then the caller is told to ask again (503)."""


@dataclass(frozen=True, slots=True)
class Existing:
    """A transaction that was there already; `same` when its params equal the ones asked for."""

    flow_id: str
    status: str
    same: bool


class Inserted(NamedTuple):
    ids: set[str]
    has_rung: bool  # somebody idle is notified with the commit


def insert(cursor: Any, *, instance_id: str, flow_id: str, params: dict[str, Any], actor: str) -> bool:
    """Inserts a due transaction of an active flow and counts it. False: no such flow, or the instance_id is taken."""
    cursor.execute(
        _wait_less(MOST_WAIT_MS) + _INSERT_ONE,
        {"id": instance_id, "params": dumps(params), "actor": actor, "flow": flow_id},
    )
    return bool(cursor.rowcount)


class Parent(NamedTuple):
    """The task run that starts a transaction."""

    transaction_id: int
    task_id: str
    op: str
    item: int


def insert_child(
    cursor: Any, *, instance_id: str, flow_id: str, params: dict[str, Any], actor: str, parent: Parent
) -> bool:
    """Like `insert`, of a transaction that another one starts, and which owes that one an answer."""
    cursor.execute(
        _INSERT_CHILD,
        {"id": instance_id, "params": dumps(params), "actor": actor, "flow": flow_id}
        | {"parent": parent.transaction_id, "task": parent.task_id, "op": parent.op, "item": parent.item},
    )
    return bool(cursor.rowcount)


def insert_many(cursor: Any, *, rows: Sequence[NewRow], most_wait_ms: int = MOST_WAIT_MS) -> Inserted:
    """The same for many with distinct ids. Waits at most so long for another's lock.

    With the commit idle workers are notified, if there are any: then nobody has to look for one afterwards.
    """
    columns = zip(*((row[0], row[1], dumps(row[2]), row[3]) for row in rows), strict=True)
    _INSERT_MANY.execute(cursor, [list(column) for column in columns], first=_wait_less(most_wait_ms))
    found = cursor.fetchall()
    return Inserted({row[0] for row in found}, has_rung=bool(found) and found[0][1])


def _wait_less(milliseconds: int) -> str:
    """Sent together with the statement that follows: one round trip, and one database transaction that ends with it."""
    return f"SELECT set_config('lock_timeout', '{milliseconds:d}ms', true);"


_INSERT_ONE = """
    WITH started AS (
        INSERT INTO transactions_transaction (instance_id, flow_id, params, created_by)
        SELECT %(id)s, id, %(params)s::jsonb, %(actor)s FROM flows_flow
        WHERE id = %(flow)s AND is_active AND deleted_at IS NULL
        ON CONFLICT (instance_id) DO NOTHING
        RETURNING flow_id, created_at
    )
    INSERT INTO dist_task_statdelta (flow_id, bucket, created)
    SELECT flow_id, date_bin('15 minutes', created_at, 'epoch'), 1 FROM started
"""
_INSERT_CHILD = _INSERT_ONE.replace(
    "params, created_by)", "params, created_by, parent_id, parent_task_id, parent_op, parent_item, owes_parent)"
).replace("%(actor)s FROM", "%(actor)s, %(parent)s, %(task)s, %(op)s, %(item)s, true FROM")
_INSERT_MANY = Prepared(
    "start_transactions",
    types=("text[]", "text[]", "jsonb[]", "text[]"),
    sql=f"""
    WITH started AS (
        INSERT INTO transactions_transaction (instance_id, flow_id, params, created_by)
        SELECT w.instance_id, f.id, w.params, w.actor
        FROM unnest($1, $2, $3, $4) AS w(instance_id, flow_id, params, actor)
        JOIN flows_flow f ON f.id = w.flow_id AND f.is_active AND f.deleted_at IS NULL
        ORDER BY w.instance_id
        ON CONFLICT (instance_id) DO NOTHING
        RETURNING instance_id, flow_id, created_at
    ), counted AS (
        INSERT INTO dist_task_statdelta (flow_id, bucket, created)
        SELECT flow_id, date_bin('15 minutes', created_at, 'epoch'), count(*) FROM started GROUP BY 1, 2
    ), rung AS (
        SELECT count(pg_notify('{leases.CHANNEL}_' || id, '')) AS workers FROM (
            SELECT id FROM dist_task_worker WHERE idle AND lease_until > statement_timestamp()
            ORDER BY id LIMIT (SELECT (count(*) + {STARTS_PER_WORKER - 1}) / {STARTS_PER_WORKER} FROM started)
        ) AS idle
    )
    SELECT instance_id, (SELECT workers FROM rung) > 0 FROM started
""",  # noqa: S608  # a channel of ours
)


def existing(cursor: Any, *, instance_id: str, params: dict[str, Any]) -> Existing | None:
    cursor.execute(
        "SELECT flow_id, status, params = %s::jsonb FROM transactions_transaction WHERE instance_id = %s",
        (dumps(params), instance_id),
    )
    row = cursor.fetchone()
    return Existing(*row) if row else None
