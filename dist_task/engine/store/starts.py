"""A request becomes rows: transactions are inserted first, and what that did is the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakSet

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
        _WAIT_LESS + _INSERT_ONE,
        {
            "id": instance_id,
            "params": dumps(params),
            "actor": actor,
            "flow": flow_id,
            "most_wait": f"{MOST_WAIT_MS}ms",
        },
    )
    return bool(cursor.rowcount)


def insert_many(cursor: Any, *, rows: Sequence[NewRow], most_wait_ms: int = MOST_WAIT_MS) -> Inserted:
    """The same for many with distinct ids. Waits at most so long for another's lock.

    With the commit idle workers are notified, if there are any: then nobody has to look for one afterwards.
    """
    if cursor.connection not in _prepared:
        cursor.execute(_WAIT_LESS + _PREPARE, {"most_wait": f"{most_wait_ms}ms"})  # it waits for locks, too
        _prepared.add(cursor.connection)
    ids, flows, params, actors = zip(*((row[0], row[1], dumps(row[2]), row[3]) for row in rows), strict=True)
    cursor.execute(
        _WAIT_LESS + _INSERT_MANY,
        {
            "ids": list(ids),
            "flows": list(flows),
            "params": list(params),
            "actors": list(actors),
            "most_wait": f"{most_wait_ms}ms",
        },
    )
    found = cursor.fetchall()
    return Inserted({row[0] for row in found}, has_rung=bool(found) and found[0][1])


# Sent together with the statement that follows: one round trip, and one database transaction that it ends with.
_WAIT_LESS = "SELECT set_config('lock_timeout', %(most_wait)s, true);"
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
_PREPARE = f"""
    PREPARE start_transactions (text[], text[], jsonb[], text[]) AS
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
"""  # noqa: S608  # a channel of ours
_INSERT_MANY = "EXECUTE start_transactions(%(ids)s::text[], %(flows)s::text[], %(params)s::jsonb[], %(actors)s::text[])"
_prepared: WeakSet[Any] = WeakSet()
"""Connections that know the statement."""


def existing(cursor: Any, *, instance_id: str, params: dict[str, Any]) -> Existing | None:
    cursor.execute(
        "SELECT flow_id, status, params = %s::jsonb FROM transactions_transaction WHERE instance_id = %s",
        (dumps(params), instance_id),
    )
    row = cursor.fetchone()
    return Existing(*row) if row else None
