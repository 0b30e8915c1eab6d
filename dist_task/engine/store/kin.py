"""Transactions above and below one, and before it: who has started it, what it has started, what it is run again of."""

from __future__ import annotations

from django.db import connection

from transactions.models import Transaction


def at_it_below(transaction: Transaction) -> str | None:
    """The instance id of one that it has started, or that such a one has, and that has not ended."""
    with connection.cursor() as cursor:
        cursor.execute(_AT_IT_BELOW, {"id": transaction.pk})
        row = cursor.fetchone()
        return row[0] if row else None


def chain_before(transaction: Transaction) -> list[int]:
    """The ids of what it is run again of, and what that is run again of, and so on."""
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN_BEFORE, {"id": transaction.pk})
        return [row[0] for row in cursor.fetchall()]


def undone_below(transaction: Transaction) -> set[str]:
    """Its tasks that count on a success below them which was undone afterwards, by itself."""
    with connection.cursor() as cursor:
        cursor.execute(_UNDONE_BELOW, {"id": transaction.pk})
        return {row[0] for row in cursor.fetchall()}


def forward_below(transaction: Transaction) -> list[int]:
    """The ids of what its forward work has started, and of what the forward work of that has, and so on."""
    with connection.cursor() as cursor:
        cursor.execute(_FORWARD_BELOW, {"id": transaction.pk})
        return [row[0] for row in cursor.fetchall()]


def lock_above(instance_id: str) -> None:
    """Those above a transaction, if it belongs to their forward work."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_ABOVE, {"id": instance_id})


def stands_on_above(instance_id: str) -> str | None:
    """The instance id of one as which one of those was run again, and that has not been undone."""
    with connection.cursor() as cursor:
        cursor.execute(_STANDS_ON_ABOVE, {"id": instance_id})
        row = cursor.fetchone()
        return row[0] if row else None


def reach_from_above(instance_id: str) -> str | None:
    """For a transaction that is to go on by itself: those above it, if it belongs to their forward work, are locked.
    Their runs that wait for its repair, or to ask for it again, may have been executed from now on, so that undoing
    them reaches it.

    Returns the instance id of one that is undone, cancelled or was run again, for which nothing may be done any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_ABOVE, {"id": instance_id})
        if not cursor.fetchall():
            return None
        cursor.execute(_MARK_ABOVE, {"id": instance_id})
        cursor.execute(_OVER_ABOVE, {"id": instance_id})
        row = cursor.fetchone()
        return row[0] if row else None


_AT_IT_BELOW = """
    WITH RECURSIVE below AS (
        SELECT id, instance_id, completed_at, compensation FROM transactions_transaction WHERE parent_id = %(id)s
        UNION ALL
        SELECT t.id, t.instance_id, t.completed_at, t.compensation
        FROM transactions_transaction t JOIN below ON t.parent_id = below.id
    )
    SELECT instance_id FROM below WHERE completed_at IS NULL OR compensation = 'running' ORDER BY id LIMIT 1
"""
_ABOVE = """
    WITH RECURSIVE above AS (
        SELECT parent_id, parent_task_id, parent_item FROM transactions_transaction
        WHERE instance_id = %(id)s AND parent_op = 'action'
        UNION ALL
        SELECT t.parent_id, t.parent_task_id, t.parent_item FROM transactions_transaction t JOIN above
        ON t.id = above.parent_id WHERE t.parent_op = 'action'
    )
"""
_LOCK_ABOVE = f"""{_ABOVE}
    SELECT t.id FROM transactions_transaction t JOIN above ON t.id = above.parent_id ORDER BY t.id
    FOR NO KEY UPDATE OF t
"""  # noqa: S608  # parts of ours
_OVER_ABOVE = f"""{_ABOVE}
    SELECT t.instance_id FROM transactions_transaction t JOIN above ON t.id = above.parent_id
    WHERE t.compensation <> 'none' OR t.cancelling OR t.status = 'cancelled' OR t.was_run_again
    ORDER BY t.id LIMIT 1
"""  # noqa: S608  # parts of ours
_STANDS_ON_ABOVE = f"""{_ABOVE}
    SELECT a.instance_id FROM transactions_transaction a JOIN above ON a.rerun_of_id = above.parent_id
    WHERE a.compensation <> 'done' ORDER BY a.id LIMIT 1
"""  # noqa: S608  # parts of ours
_CHAIN_BEFORE = """
    WITH RECURSIVE chain AS (
        SELECT rerun_of_id FROM transactions_transaction WHERE id = %(id)s
        UNION
        SELECT t.rerun_of_id FROM transactions_transaction t JOIN chain ON t.id = chain.rerun_of_id
    )
    SELECT rerun_of_id FROM chain WHERE rerun_of_id IS NOT NULL
"""
_FORWARD_BELOW = """
    WITH RECURSIVE below AS (
        SELECT id FROM transactions_transaction WHERE parent_id = %(id)s AND parent_op = 'action'
        UNION ALL
        SELECT t.id FROM transactions_transaction t JOIN below ON t.parent_id = below.id WHERE t.parent_op = 'action'
    )
    SELECT id FROM below
"""
_UNDONE_BELOW = """
    WITH RECURSIVE below AS (
        SELECT id, parent_task_id AS task_id, compensation FROM transactions_transaction
        WHERE parent_id = %(id)s AND parent_op = 'action' AND status = 'success'
        UNION ALL
        SELECT t.id, below.task_id, t.compensation FROM transactions_transaction t JOIN below ON t.parent_id = below.id
        WHERE t.parent_op = 'action' AND t.status = 'success'
    )
    SELECT DISTINCT task_id FROM below WHERE compensation <> 'none'
"""
_MARK_ABOVE = f"""{_ABOVE}
    UPDATE dist_task_taskrun r SET maybe_executed = true FROM above
    WHERE r.transaction_id = above.parent_id AND r.task_id = above.parent_task_id AND r.op = 'action'
      AND r.item = above.parent_item AND r.status IN ('failed', 'pending')
"""  # noqa: S608  # parts of ours
