"""Group commit: what many transactions have to write, in one call.

The batch's number is the gate: a batch that was committed already, though its answer got lost, does nothing when it is
sent again. The transactions' rows, locked where this worker still owns them, are the fence: everything is written for
those only. An ended attempt is written where it still stands as running with the same number; starts, finish and
release only where no verb from outside has raised the revision since it was read. So is the end of a task with
items, which is concluded from what these were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from dist_task import failpoints
from dist_task.executors.base import noted
from dist_task.payload import dumps_and_changes
from dist_task.states import TRANSACTION_MOVES, WHOLE, Op, RunKey, RunStatus, TransactionStatus, sources

from .claims import Rows
from .counts import COLUMN_OF_STATUS


class Ended(NamedTuple):
    """An attempt that ended. `status` is success, failed, or pending with `delay_seconds` until the next attempt.

    Or one that has not: `waiting`, with `waits_for`, and `delay_seconds` until it waits no longer. The `event` of a
    success is that it succeeded, whatever it says here.
    """

    task_id: str
    attempt: int
    status: str
    event: str
    op: str = "action"
    item: int = -1
    output: Any = None
    note: str = ""  # beside a success: the log's message
    delay_seconds: float | None = None
    waits_for: str = ""
    error_code: str = ""
    error_message: str = ""
    outcome: str = ""
    fingerprint: str = ""
    task_name: str = ""
    maybe_executed: bool = False
    took_answer: bool = False  # this is what became of an answer from outside (see verbs.answer)
    is_raised: bool = True  # a failure opens an exception; not that of a task whose items have theirs
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None

    @property
    def key(self) -> RunKey:
        return self.task_id, self.item

    @property
    def is_eventful(self) -> bool:
        """It is not the success of a first attempt: it may open, repeat or close an exception, or have to wait."""
        return self.status != RunStatus.SUCCESS or self.attempt > 1


class Begun(NamedTuple):
    """An attempt that may be made once this is committed."""

    task_id: str
    attempt: int
    budget: int
    input: Any
    op: str = "action"
    item: int = -1
    total_seconds: float | None = None  # until its deadline, where it has none yet

    @property
    def key(self) -> RunKey:
        return self.task_id, self.item


@dataclass(slots=True)
class Write:
    """All that one transaction has to write now."""

    transaction_id: int
    revision: int
    ended: list[Ended] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # tasks whose condition says that they are not to run
    finish: str | None = None
    compensate: bool = False  # forward work failed: from now on it is undone
    compensated: str | None = None  # undoing has ended: done or failed
    release: bool = False
    wake_in_seconds: float | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.ended or self.begun or self.skipped or self.release or self.compensate)

    def of_ended_only(self) -> Write:
        """The same without anything that goes on from there."""
        return Write(self.transaction_id, revision=self.revision, ended=self.ended)


class Written(NamedTuple):
    """What became of a Write.

    `fenced`: the transaction is not this worker's any more and nothing was written. `stale`: a verb came in between, or
    a row did not stand as it was thought; ended attempts are written, the rest is not: read again and plan anew.
    """

    fenced: bool = False
    stale: bool = False


RECORD = "EXECUTE record_batch(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


async def record(rows: Rows, *, worker_id: int, number: int, writes: Sequence[Write]) -> list[Written]:
    """Writes all of it, or raises and has written nothing. One `Written` per write; `number` counts up from 1.

    Sent again after it was committed it answers `stale` for all: the caller reads again what became of them.
    """
    failpoints.hit("record.before")
    parameters = record_parameters(worker_id=worker_id, number=number, writes=writes)
    return read_record(await rows(RECORD, parameters), writes=writes)


def record_parameters(*, worker_id: int, number: int, writes: Sequence[Write]) -> tuple[Any, ...]:
    ended = [(write, ended) for write in writes for ended in write.ended]
    finishing = [write for write in writes if write.finish]
    compensated = [write for write in writes if write.compensated]
    skipped = [(write.transaction_id, task_id) for write in writes for task_id in write.skipped]
    released = [write for write in writes if write.release and not write.finish and not write.compensated]
    return (
        worker_id,
        number,
        [write.transaction_id for write in writes],
        [write.revision for write in writes],
        _json([_ended_row(write, ended=each) for write, each in ended]),
        _json([_begun_row(write, begun=begun) for write in writes for begun in write.begun]),
        [write.transaction_id for write in finishing] or None,
        [write.finish for write in finishing] or None,
        [write.transaction_id for write in released] or None,
        [write.wake_in_seconds for write in released] or None,
        [transaction_id for transaction_id, _task_id in skipped] or None,
        [task_id for _transaction_id, task_id in skipped] or None,
        [write.transaction_id for write in writes if write.compensate] or None,
        [write.transaction_id for write in compensated] or None,
        [write.compensated for write in compensated] or None,
        any(each.is_eventful for _write, each in ended),
        failpoints.is_on("unfenced"),
    )


def read_record(rows: Sequence[tuple[Any, ...]], *, writes: Sequence[Write]) -> list[Written]:
    ((mine, current, begun),) = rows
    if mine is None:
        return [Written(stale=True) for _ in writes]
    mine, current, begun = set(mine), set(current or ()), Counter(begun)
    return [
        Written(
            fenced=write.transaction_id not in mine,
            stale=write.transaction_id not in current
            or begun[write.transaction_id] != len(write.begun) + len(write.skipped),
        )
        for write in writes
    ]


def cancel(cursor: Any, *, worker_id: int, transaction_id: int, revision: int) -> Written:
    """Ends what a person cancelled, once nothing of it is in flight. Runs in a database transaction."""
    cursor.execute(
        "SELECT revision FROM transactions_transaction WHERE id = %s AND owner = %s FOR NO KEY UPDATE",
        (transaction_id, worker_id),
    )
    row = cursor.fetchone()
    if row is None or row[0] != revision:
        return Written(fenced=row is None, stale=True)
    cancel_runs(cursor, transaction_ids=[transaction_id])
    finish(cursor, transaction_ids=[transaction_id], status=TransactionStatus.CANCELLED)
    return Written()


def finish(cursor: Any, *, transaction_ids: list[int], status: str) -> None:
    """The end of transactions: final status, no owner, nothing due; counted in the same statement."""
    cursor.execute(
        f"""
        WITH done AS (
            UPDATE transactions_transaction
            SET status = %(status)s, completed_at = GREATEST(clock_timestamp(), created_at), owner = NULL,
                wake_at = NULL, cancelling = false, paused = false
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


def cancel_runs(cursor: Any, *, transaction_ids: list[int]) -> None:
    """What has not run will not. An unknown outcome stays with a person; what was to be retried, or was cancelled with
    this, needs nobody any more."""
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
        WHERE x.transaction_id = ANY(%s) AND r.id = x.run_id
          AND (x.status = 'retrying' OR (x.status = 'open' AND r.error_code = 'CHILD_CANCELLED'))
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
    """Members that have their usual value are left out; the function fills them in."""
    output, note = _noted_output(ended)
    row = {
        "transaction_id": write.transaction_id,
        "task_id": ended.task_id,
        "attempt": ended.attempt,
        "output": output,
        "request": _fragment(ended.request),
        "response": output if ended.response is ended.output else _fragment(ended.response),
        **_place(ended),
    }
    if note:
        row["note"] = _fragment(note)
    if ended.status != RunStatus.SUCCESS:
        row |= {
            "status": ended.status,
            "event": ended.event,
            "delay": ended.delay_seconds,
            "waits_for": ended.waits_for or None,
            "error_code": _fragment(ended.error_code[:100]),
            "error_message": _fragment(ended.error_message),
            "outcome": ended.outcome,
            "fingerprint": ended.fingerprint,
            "task_name": ended.task_name,
            "maybe_executed": ended.maybe_executed,
            "took_answer": ended.took_answer,
            "is_raised": ended.is_raised,
        }
    return row


def _begun_row(write: Write, *, begun: Begun) -> dict[str, Any]:
    row = {
        "transaction_id": write.transaction_id,
        "task_id": begun.task_id,
        "attempt": begun.attempt,
        "budget": begun.budget,
        "input": _fragment(begun.input),
        **_place(begun),
    }
    if begun.total_seconds is not None:
        row["total"] = begun.total_seconds
    return row


def _place(run: Ended | Begun) -> dict[str, Any]:
    """Nothing for the action of a whole task, which most are."""
    if run.op == Op.ACTION and run.item == WHOLE:
        return {}
    return {"op": run.op, "item": run.item}


def _noted_output(ended: Ended) -> tuple[Any, str]:
    """As it is stored, and what is to be said of it: what could not be stored as it came is no reason to fail."""
    if ended.output is None:
        return None, ended.note
    text, changes = dumps_and_changes(ended.output)
    return orjson.Fragment(text), noted(ended.note, changes=changes) if changes else ended.note


def _fragment(value: Any) -> Any:
    """A value of the outside, as JSON text that jsonb takes."""
    return None if value is None else orjson.Fragment(dumps_and_changes(value)[0])


def _json(rows: list[dict[str, Any]]) -> str | None:
    return orjson.dumps(rows).decode() if rows else None
