"""Exactly once: a row for each call, in the transaction of its effect (FLOWS, "Barrier for the called services").

The row keeps what the first attempt gave, so that a later one answers the same and touches nothing. A compensation
puts the row of its action before its own: was there none, there is nothing to undo, and an action that comes
late finds it. So actions and compensations wait for each other on that one row, and cannot deadlock over two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from dist_task.conf import conf
from dist_task.executors.base import TaskCall
from dist_task.payload import dumps, loads_untrusted

from . import failures
from .access import BARRIER_TABLE
from .session import Answer, Session
from .statement import Statement

ORIGINS = {"compensate": "action"}
BARRIER_ID = "1"
NOTHING = "null"
DONE = "done"
REPEATED = "repeated"  # an earlier attempt has done it
EMPTY = "empty"  # there is nothing to undo: the action was never done
LATE = "late"  # its compensation came first
_KEY = "gid = %s AND branch_id = %s AND op = %s AND barrier_id = %s"
INSERT = f"{BARRIER_TABLE} (gid, branch_id, op, barrier_id, reason, answer) VALUES (%s, %s, %s, %s, %s, %s)"
FIND = f"SELECT reason, answer FROM {BARRIER_TABLE} WHERE {_KEY}"  # noqa: S608  # names of our own
KEEP = f"UPDATE {BARRIER_TABLE} SET answer = %s WHERE {_KEY}"  # noqa: S608  # the same


@dataclass(frozen=True, slots=True)
class Once:
    """`passage`: how it went, for the log; one of the words above."""

    output: Any
    passage: str


@dataclass(frozen=True, slots=True)
class Entry:
    """The rows of one task run: all its attempts have the same."""

    gid: str
    branch_id: str
    op: str

    @classmethod
    def of(cls, call: TaskCall) -> Entry:
        """`item` is -1 outside of a foreach."""
        branch_id = call.task_id if call.item < 0 else f"{call.task_id}/{call.item}"
        return cls(call.instance_id, branch_id, op=call.op)

    def once(self, session: Session, effect: Callable[[], Answer]) -> Once:
        """In a transaction that has begun, and that it leaves open. Raises what the effect raises."""
        origin = ORIGINS.get(self.op)
        is_empty = origin is not None and self._insert(session, op=origin, answer=NOTHING)
        if not self._insert(session, op=self.op, answer=NOTHING if is_empty else None):
            return self._found(session)
        if is_empty:
            return Once(None, passage=EMPTY)
        text = _text_of(effect())
        session.execute(Statement(KEEP, (text, *self._key(self.op))))
        return Once(loads_untrusted(text), passage=DONE)

    def _insert(self, session: Session, *, op: str, answer: str | None) -> bool:
        return session.insert_once(Statement(INSERT, (*self._key(op), self.op, answer)))

    def _found(self, session: Session) -> Once:
        record = session.execute(Statement(FIND + session.latest, self._key(self.op))).records[0]
        if record["reason"] != self.op:
            return Once(None, passage=LATE)
        return Once(loads_untrusted(record["answer"] or NOTHING), passage=REPEATED)

    def _key(self, op: str) -> tuple[str, ...]:
        return self.gid, self.branch_id, op, BARRIER_ID


def _text_of(answer: Answer) -> str:
    """The output of the task, as it is kept in the row."""
    output: dict[str, Any] = {"rows": answer.rows}
    if answer.records:
        output["returning"] = [{name: _plain(value) for name, value in each.items()} for each in answer.records]
    if answer.inserted_id is not None:
        output["inserted_id"] = answer.inserted_id
    text = dumps(output)
    if len(text.encode()) > conf.MAX_RESPONSE_BYTES:
        raise failures.output_too_large(conf.MAX_RESPONSE_BYTES)
    return text


def _plain(value: Any) -> Any:
    """Exact as JSON: decimals as text, times as ISO 8601, bytes as hexadecimal digits."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else value
