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


def insert_rerun(cursor: Any, *, instance_id: str, of: int, actor: str) -> int | None:
    """A transaction that is `of`, whose row is locked, once more: of the same flow, whether or not that is active, and
    with the same params. None: the instance_id is taken.

    The revision says that it has runs to read, and is not to be begun by its claim.
    """
    cursor.execute(_INSERT_RERUN, {"id": instance_id, "of": of, "actor": actor})
    row = cursor.fetchone()
    return row[0] if row else None


def carry_over(cursor: Any, *, to: int, of: int, task_ids: Sequence[str], fans: Sequence[str], message: str) -> None:
    """What these tasks of `of` gave becomes what they have given in `to`, where they are skipped. Of `fans`, tasks with
    items, it is the list of what these gave."""
    cursor.execute(_CARRY_OVER, {"to": to, "of": of, "tasks": list(task_ids), "fans": list(fans), "message": message})


def largest_of_items(cursor: Any, *, transaction_id: int, task_ids: Sequence[str]) -> tuple[str, int]:
    """Of these tasks with items the one whose items gave most, and how many bytes as text; ("", 0) where none did."""
    cursor.execute(
        """
        SELECT task_id, sum(octet_length(output::text)) FROM dist_task_taskrun
        WHERE transaction_id = %s AND task_id = ANY(%s) AND op = 'action' AND item >= 0 AND output IS NOT NULL
        GROUP BY task_id ORDER BY 2 DESC LIMIT 1
        """,
        (transaction_id, list(task_ids)),
    )
    return cursor.fetchone() or ("", 0)


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
_INSERT_RERUN = """
    WITH started AS (
        INSERT INTO transactions_transaction (instance_id, flow_id, params, created_by, rerun_of_id, revision)
        SELECT %(id)s, flow_id, params, %(actor)s, id, 1 FROM transactions_transaction WHERE id = %(of)s
        ON CONFLICT (instance_id) DO NOTHING
        RETURNING id, flow_id, created_at
    ), counted AS (
        INSERT INTO dist_task_statdelta (flow_id, bucket, created)
        SELECT flow_id, date_bin('15 minutes', created_at, 'epoch'), 1 FROM started
    ), marked AS (
        UPDATE transactions_transaction SET was_run_again = true WHERE id = %(of)s AND EXISTS (SELECT FROM started)
    )
    SELECT id FROM started
"""
_CARRY_OVER = """
    WITH carried AS (
        INSERT INTO dist_task_taskrun (transaction_id, task_id, status, output, finished_at)
        SELECT %(to)s, r.task_id, 'skipped',
            CASE WHEN r.status <> 'skipped' AND r.task_id = ANY(%(fans)s) THEN (
                SELECT COALESCE(jsonb_agg(i.output ORDER BY i.item), '[]') FROM dist_task_taskrun i
                WHERE i.transaction_id = r.transaction_id AND i.task_id = r.task_id AND i.op = 'action' AND i.item >= 0
            ) ELSE r.output END, clock_timestamp()
        FROM dist_task_taskrun r
        WHERE r.transaction_id = %(of)s AND r.op = 'action' AND r.item = -1 AND r.task_id = ANY(%(tasks)s)
        RETURNING transaction_id, task_id
    )
    INSERT INTO dist_task_executionlog (transaction_id, task_id, op, event, actor, message)
    SELECT transaction_id, task_id, 'action', 'carried_over', 'system', %(message)s FROM carried
"""
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
