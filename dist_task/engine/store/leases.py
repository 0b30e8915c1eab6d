"""Workers' leases. A worker's id is the fence of all that it holds, so an id is never used twice."""

from __future__ import annotations

from typing import Any

from dist_task import failpoints

CHANNEL = "dist_task"


def register(cursor: Any, *, cluster: str, host: str, pid: int, lease_seconds: float) -> int:
    cursor.execute(
        """
        INSERT INTO dist_task_worker (cluster, host, pid, lease_until)
        VALUES (%s, %s, %s, clock_timestamp() + %s * interval '1 second') RETURNING id
        """,
        (cluster, host, pid, lease_seconds),
    )
    return int(cursor.fetchone()[0])


def renew(cursor: Any, *, worker_id: int, lease_seconds: float) -> bool:
    """False when it has ended for good: somebody took back what this worker held, or it retired.

    One that merely ran out goes on: in an outage of the database all of them do, and nobody shall lose work by that.
    """
    cursor.execute(
        """
        UPDATE dist_task_worker
        SET lease_until = clock_timestamp() + %s * interval '1 second', seen_at = clock_timestamp()
        WHERE id = %s AND lease_until > seen_at
        """,
        (lease_seconds, worker_id),
    )
    return bool(cursor.rowcount)


def set_idle(cursor: Any, *, worker_id: int, idle: bool) -> None:
    cursor.execute("UPDATE dist_task_worker SET idle = %s WHERE id = %s", (idle, worker_id))


def retire(cursor: Any, *, worker_id: int) -> int:
    """A worker ends: it gives back what it holds. Returns how many transactions that were."""
    cursor.execute("SELECT id FROM dist_task_worker WHERE id = %s FOR UPDATE", (worker_id,))
    return _take_back(cursor, worker_ids=[worker_id])


def rescue(cursor: Any, *, by: int | None = None) -> int:
    """Takes back what is held by workers whose lease ran out. Returns how many transactions that were.

    The lock on the workers' rows conflicts with that of a claim, so a late riser cannot claim in between. `by`: the
    worker that does it. Its own lease has to be alive, and not just now renewed: when the database goes on after a
    standstill, all leases have run out, and those who wait to renew theirs shall have the time to.
    """
    cursor.execute(
        """
        SELECT w.id FROM dist_task_worker w
        WHERE w.lease_until <= clock_timestamp()
          AND EXISTS (SELECT 1 FROM transactions_transaction t WHERE t.owner = w.id)
          AND (%(by)s::bigint IS NULL OR EXISTS (
            SELECT 1 FROM dist_task_worker me WHERE me.id = %(by)s AND me.lease_until > clock_timestamp()
              AND clock_timestamp() - me.seen_at > (me.lease_until - me.seen_at) / 20))
        FOR UPDATE OF w SKIP LOCKED
        """,
        {"by": by},
    )
    return _take_back(cursor, worker_ids=[row[0] for row in cursor.fetchall()])


def _take_back(cursor: Any, *, worker_ids: list[int]) -> int:
    """Ends the leases for good: one that was last renewed when it ended is not renewed again."""
    if not worker_ids:
        return 0
    cursor.execute(
        """
        UPDATE dist_task_worker SET lease_until = LEAST(lease_until, statement_timestamp()),
            seen_at = LEAST(lease_until, statement_timestamp())
        WHERE id = ANY(%s)
        """,
        (worker_ids,),
    )
    cursor.execute(
        """
        WITH taken AS (
            UPDATE transactions_transaction t SET owner = NULL, wake_at = clock_timestamp()
            WHERE t.owner = ANY(%(workers)s) RETURNING t.id
        )
        INSERT INTO dist_task_executionlog (transaction_id, event, actor)
        SELECT id, 'rescued', 'system' FROM taken
        """,
        {"workers": worker_ids},
    )
    failpoints.hit("taken_back")
    return int(cursor.rowcount)


def living_on(cursor: Any, *, host: str) -> list[tuple[int, int]]:
    """(worker id, process id) of the leases that workers of this host hold."""
    cursor.execute("SELECT id, pid FROM dist_task_worker WHERE host = %s AND lease_until > clock_timestamp()", (host,))
    return [(row[0], row[1]) for row in cursor.fetchall()]


def forget_old(cursor: Any) -> int:
    """Removes the rows of workers that ended a day ago; ids come from a sequence and never return."""
    cursor.execute(
        """
        DELETE FROM dist_task_worker w WHERE w.lease_until < clock_timestamp() - interval '1 day'
          AND NOT EXISTS (SELECT 1 FROM transactions_transaction t WHERE t.owner = w.id)
        """
    )
    return int(cursor.rowcount)


def channel(worker_id: int) -> str:
    """Where one worker alone listens."""
    return f"{CHANNEL}_{worker_id}"


def notify(cursor: Any) -> None:
    """Wakes a worker that waits, if one does. Call it after the commit that made something due.

    One and not all: for a single transaction they would only get in each other's way. A worker says that it is idle,
    commits, and only then looks once more: so either it sees what was committed before this call, or this call sees
    that it is idle. Were it to die just now, the others look by themselves every POLL_SECONDS.
    """
    cursor.execute(
        """
        SELECT pg_notify(%s || id, '') FROM dist_task_worker
        WHERE idle AND lease_until > statement_timestamp() ORDER BY id LIMIT 1
        """,
        (f"{CHANNEL}_",),
    )


def notify_all(cursor: Any) -> None:
    """Wakes every worker, busy ones too: a verb changed a transaction that one of them may hold."""
    cursor.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
