"""Group commit: what many transactions have to write, in a handful of statements.

The order of the statements is the fence: first the transactions' rows are locked where this worker still owns them;
everything below is written for those only. An ended attempt is written where it still stands as running with the same
number; starts, finish and release only where no verb from outside has raised the revision since it was read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from dist_task import failpoints
from dist_task.payload import dumps
from dist_task.states import TRANSACTION_MOVES, RunStatus, TransactionStatus, sources

from .counts import COLUMN_OF_STATUS

RunKey = tuple[str, str, int]  # task id, direction, item


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended. `status` is success, failed, or pending with `delay_seconds` until the next attempt."""

    task_id: str
    attempt: int
    status: str
    event: str
    op: str = "action"
    item: int = -1
    output: Any = None
    delay_seconds: float | None = None
    error_code: str = ""
    error_message: str = ""
    outcome: str = ""
    fingerprint: str = ""
    task_name: str = ""
    maybe_executed: bool = False
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None

    @property
    def key(self) -> RunKey:
        return (self.task_id, self.op, self.item)


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that may be made once this is committed."""

    task_id: str
    attempt: int
    budget: int
    input: Any
    op: str = "action"
    item: int = -1

    @property
    def key(self) -> RunKey:
        return (self.task_id, self.op, self.item)


@dataclass(slots=True)
class Write:
    """All that one transaction has to write now."""

    transaction_id: int
    revision: int
    ended: list[Ended] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    finish: str | None = None
    release: bool = False
    wake_in_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a Write.

    `fenced`: the transaction is not this worker's any more and nothing was written. `stale`: a verb came in between, or
    a row did not stand as it was thought; ended attempts are written, the rest is not: read again and plan anew.
    """

    fenced: bool = False
    stale: bool = False


def record(cursor: Any, *, worker_id: int, writes: Sequence[Write]) -> list[Written]:
    """Writes all of it, or raises and has written nothing once the caller rolls back. One `Written` per write."""
    held = _lock(cursor, worker_id=worker_id, writes=writes)
    failpoints.hit("record.locked")
    mine = [write for write in writes if write.transaction_id in held]
    _log_fenced(cursor, writes=[write for write in writes if write.transaction_id not in held])
    refused = _end(cursor, writes=mine)
    failpoints.hit("record.ended")
    current = [write for write in mine if held[write.transaction_id] == write.revision]
    current = [write for write in current if write.transaction_id not in refused]
    not_begun = _begin(cursor, writes=current)
    failpoints.hit("record.begun")
    going_on = [write for write in current if write.transaction_id not in not_begun]
    _move_on(cursor, writes=[write for write in going_on if write.release])
    fresh = {write.transaction_id for write in going_on}
    return [
        Written(fenced=write.transaction_id not in held, stale=write.transaction_id not in fresh) for write in writes
    ]


def _lock(cursor: Any, *, worker_id: int, writes: Sequence[Write]) -> dict[int, int]:
    """Transaction id to revision, of those that this worker owns. In order of ids: two batches cannot deadlock."""
    cursor.execute(
        """
        SELECT id, revision FROM transactions_transaction
        WHERE id = ANY(%s) AND (owner = %s OR %s) ORDER BY id FOR NO KEY UPDATE
        """,
        ([write.transaction_id for write in writes], worker_id, failpoints.is_on("unfenced")),
    )
    return dict(cursor.fetchall())


def _log_fenced(cursor: Any, *, writes: Sequence[Write]) -> None:
    """A late result changes nothing, but leaves a trace: the call was made."""
    rows = [_ended_row(write, ended=ended) for write in writes for ended in write.ended]
    if not rows:
        return
    cursor.execute(
        f"""
        INSERT INTO dist_task_executionlog
            (transaction_id, task_id, op, item, attempt, event, actor, message, error_code, request, response)
        SELECT e.transaction_id, e.task_id, e.op, e.item, e.attempt, 'fenced', 'system', e.error_message, e.error_code,
               e.request, e.response
        FROM jsonb_to_recordset(%s::jsonb) AS {ENDED_COLUMNS}
        JOIN transactions_transaction t ON t.id = e.transaction_id
        """,  # noqa: S608  # constant text
        (_json(rows),),
    )


ENDED_COLUMNS = """e(transaction_id bigint, task_id text, op text, item int, attempt int, status text, event text,
    output jsonb, delay float8, error_code text, error_message text, outcome text, fingerprint text, task_name text,
    maybe_executed boolean, request jsonb, response jsonb)"""


def _end(cursor: Any, *, writes: Sequence[Write]) -> set[int]:
    """Ends attempts, logs them, opens and closes exceptions. Returns the transactions where one did not stand so.

    A retry is written as failed where a person stopped retries meanwhile (the budget was lowered under the row's lock).
    """
    rows = [_ended_row(write, ended=ended) for write in writes for ended in write.ended]
    if not rows:
        return set()
    cursor.execute(
        f"""
        WITH e AS (SELECT * FROM jsonb_to_recordset(%s::jsonb) AS {ENDED_COLUMNS}),
        ended AS (
            UPDATE dist_task_taskrun r
            SET status = CASE WHEN e.status = 'pending' AND r.attempt >= r.attempt_budget THEN 'failed'
                    ELSE e.status END,
                output = e.output, error_code = e.error_code, error_message = e.error_message,
                maybe_executed = r.maybe_executed OR e.maybe_executed,
                due_at = clock_timestamp() + e.delay * interval '1 second',
                finished_at = CASE WHEN e.status <> 'pending' OR r.attempt >= r.attempt_budget
                    THEN GREATEST(clock_timestamp(), r.started_at) END
            FROM e
            WHERE r.transaction_id = e.transaction_id AND r.task_id = e.task_id AND r.op = e.op AND r.item = e.item
              AND r.attempt = e.attempt AND r.status = 'running'
            RETURNING r.id AS run_id, r.started_at, r.due_at, r.status AS became, e.*
        ), logged AS (
            INSERT INTO dist_task_executionlog
                (transaction_id, task_id, op, item, attempt, event, message, error_code, request, response,
                 started_at, at)
            SELECT transaction_id, task_id, op, item, attempt, event, error_message, error_code, request, response,
                   started_at, GREATEST(clock_timestamp(), started_at)
            FROM ended
        ), opened AS (
            INSERT INTO exceptions_app_exceptionrecord
                (transaction_id, run_id, flow_id, task_id, op, item, task_name, status, error_code, error_message,
                 outcome, fingerprint, retry_next_at)
            SELECT n.transaction_id, n.run_id, t.flow_id, n.task_id, n.op, n.item, n.task_name,
                   CASE n.became WHEN 'pending' THEN 'retrying' ELSE 'open' END, n.error_code, n.error_message,
                   n.outcome, n.fingerprint, CASE n.became WHEN 'pending' THEN n.due_at END
            FROM ended n JOIN transactions_transaction t ON t.id = n.transaction_id WHERE n.became <> 'success'
            ON CONFLICT (run_id) WHERE NOT (status = 'handled') DO UPDATE
            SET status = EXCLUDED.status, error_code = EXCLUDED.error_code, error_message = EXCLUDED.error_message,
                outcome = EXCLUDED.outcome, fingerprint = EXCLUDED.fingerprint, retry_next_at = EXCLUDED.retry_next_at,
                occurrences = exceptions_app_exceptionrecord.occurrences + 1, last_at = clock_timestamp()
        ), closed AS (
            UPDATE exceptions_app_exceptionrecord x
            SET status = 'handled', handled_at = clock_timestamp(), handled_by = 'system', retry_next_at = NULL
            FROM ended n
            WHERE n.became = 'success' AND n.attempt > 1 AND x.run_id = n.run_id AND NOT (x.status = 'handled')
        )
        SELECT transaction_id, count(*) FROM ended GROUP BY transaction_id
        """,  # noqa: S608  # constant text
        (_json(rows),),
    )
    written = dict(cursor.fetchall())
    wanted = Counter(row["transaction_id"] for row in rows)
    return {transaction_id for transaction_id, count in wanted.items() if written.get(transaction_id, 0) != count}


def _begin(cursor: Any, *, writes: Sequence[Write]) -> set[int]:
    """Marks attempts as running. Returns the transactions where a run did not stand as it was thought."""
    rows = [_begun_row(write, begun=begun) for write in writes for begun in write.begun]
    if not rows:
        return set()
    cursor.execute(
        """
        INSERT INTO dist_task_taskrun AS r
            (transaction_id, task_id, op, item, status, attempt, attempt_budget, input, started_at)
        SELECT transaction_id, task_id, op, item, 'running', attempt, budget, input, clock_timestamp()
        FROM jsonb_to_recordset(%s::jsonb) AS
            b(transaction_id bigint, task_id text, op text, item int, attempt int, budget int, input jsonb)
        ON CONFLICT (transaction_id, task_id, op, item) DO UPDATE
        SET status = 'running', attempt = EXCLUDED.attempt, attempt_budget = EXCLUDED.attempt_budget, due_at = NULL,
            started_at = EXCLUDED.started_at
        WHERE r.status = 'pending' AND r.attempt = EXCLUDED.attempt - 1
        RETURNING r.transaction_id
        """,
        (_json(rows),),
    )
    written = Counter(row[0] for row in cursor.fetchall())
    wanted = Counter(row["transaction_id"] for row in rows)
    return {transaction_id for transaction_id, count in wanted.items() if written[transaction_id] != count}


def _move_on(cursor: Any, *, writes: Sequence[Write]) -> None:
    """Finishes transactions, or gives them back until they are due."""
    cancelled = [write.transaction_id for write in writes if write.finish == TransactionStatus.CANCELLED]
    if cancelled:
        cancel_runs(cursor, transaction_ids=cancelled)
    by_status: dict[str | None, list[Write]] = defaultdict(list)
    for write in writes:
        by_status[write.finish].append(write)
    for status, group in by_status.items():
        if status is None:
            _release(cursor, writes=group)
        else:
            finish(cursor, transaction_ids=[write.transaction_id for write in group], status=status)


def finish(cursor: Any, *, transaction_ids: list[int], status: str) -> None:
    """The end of transactions: final status, no owner, nothing due; counted in the same statement."""
    cursor.execute(
        f"""
        WITH done AS (
            UPDATE transactions_transaction
            SET status = %(status)s, completed_at = GREATEST(clock_timestamp(), created_at), owner = NULL,
                wake_at = NULL, cancelling = false
            WHERE id = ANY(%(ids)s) AND status = ANY(%(sources)s)
            RETURNING flow_id, CASE WHEN status = 'success'
                THEN (EXTRACT(EPOCH FROM completed_at - created_at) * 1000)::bigint ELSE 0 END AS duration_ms
        )
        INSERT INTO dist_task_statdelta (flow_id, bucket, {COLUMN_OF_STATUS[status]}, duration_ms)
        SELECT flow_id, date_bin('15 minutes', clock_timestamp(), 'epoch'), count(*), sum(duration_ms)
        FROM done GROUP BY flow_id
        """,  # noqa: S608  # the column is one of ours
        {"ids": transaction_ids, "status": status, "sources": list(sources(TRANSACTION_MOVES, to=status))},
    )
    failpoints.hit("finish")


def _release(cursor: Any, *, writes: Sequence[Write]) -> None:
    cursor.execute(
        """
        UPDATE transactions_transaction t
        SET owner = NULL, wake_at = clock_timestamp() + r.delay * interval '1 second'
        FROM jsonb_to_recordset(%s::jsonb) AS r(id bigint, delay float8) WHERE t.id = r.id
        """,
        (_json([{"id": write.transaction_id, "delay": write.wake_in_seconds} for write in writes]),),
    )
    failpoints.hit("release")


def cancel_runs(cursor: Any, *, transaction_ids: list[int]) -> None:
    """What has not run will not. An unknown outcome stays with a person; other failures need nobody any more."""
    cursor.execute(
        """
        UPDATE dist_task_taskrun SET status = 'cancelled', finished_at = clock_timestamp(), due_at = NULL
        WHERE transaction_id = ANY(%s) AND status = ANY(%s)
        """,
        (transaction_ids, [RunStatus.PENDING, RunStatus.WAITING]),
    )
    cursor.execute(
        """
        UPDATE exceptions_app_exceptionrecord x
        SET status = CASE WHEN r.maybe_executed THEN 'open' ELSE 'handled' END, retry_next_at = NULL,
            handled_at = CASE WHEN NOT r.maybe_executed THEN clock_timestamp() END,
            handled_by = CASE WHEN r.maybe_executed THEN '' ELSE 'system' END,
            remark = CASE WHEN r.maybe_executed THEN x.remark ELSE 'The transaction was cancelled.' END
        FROM dist_task_taskrun r
        WHERE x.transaction_id = ANY(%s) AND r.id = x.run_id AND x.status = 'retrying'
        """,
        (transaction_ids,),
    )


def park(cursor: Any, *, worker_id: int, transaction_id: int, message: str, seconds: float) -> None:
    """Puts a transaction aside that the engine itself cannot handle, so that it delays nobody and is seen."""
    cursor.execute(
        """
        WITH parked AS (
            UPDATE transactions_transaction SET owner = NULL, wake_at = clock_timestamp() + %s * interval '1 second'
            WHERE id = %s AND owner = %s RETURNING id
        )
        INSERT INTO dist_task_executionlog (transaction_id, event, actor, message)
        SELECT id, 'parked', 'system', %s FROM parked
        """,
        (seconds, transaction_id, worker_id, message),
    )


def _ended_row(write: Write, *, ended: Ended) -> dict[str, Any]:
    return {
        "transaction_id": write.transaction_id,
        "task_id": ended.task_id,
        "op": ended.op,
        "item": ended.item,
        "attempt": ended.attempt,
        "status": ended.status,
        "event": ended.event,
        "output": _fragment(ended.output),
        "delay": ended.delay_seconds,
        "error_code": _fragment(ended.error_code[:100]),
        "error_message": _fragment(ended.error_message),
        "outcome": ended.outcome,
        "fingerprint": ended.fingerprint,
        "task_name": ended.task_name,
        "maybe_executed": ended.maybe_executed,
        "request": _fragment(ended.request),
        "response": _fragment(ended.response),
    }


def _begun_row(write: Write, *, begun: Begun) -> dict[str, Any]:
    return {
        "transaction_id": write.transaction_id,
        "task_id": begun.task_id,
        "op": begun.op,
        "item": begun.item,
        "attempt": begun.attempt,
        "budget": begun.budget,
        "input": _fragment(begun.input),
    }


def _fragment(value: Any) -> Any:
    """A value of the outside, as JSON text that jsonb takes."""
    return None if value is None else orjson.Fragment(dumps(value))


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
