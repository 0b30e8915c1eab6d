"""Who may pass: the rows of the barrier, in the transaction of the work."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .calls import Call
from .connections import Statements, outside_of_units, unit_of
from .errors import BarrierError
from .table import ANSWER, INSERT, KEEP, SQL

logger = logging.getLogger(__name__)

LONGEST_BARRIER_ID = 64


@dataclass(slots=True)
class Turn:
    """`is_mine`: do the work now. `answer`: what the call answers, as JSON can say it.

    The work sets `answer`; a later attempt of the same call finds it there, and answers the same. It is None where no
    work was done: the compensation of what never ran, and what came after its compensation.
    """

    is_mine: bool
    answer: Any = field(default=None)


@contextmanager
def barrier(connection: Any, call: Call, *, barrier_id: str = "1") -> Iterator[Turn]:
    """One transaction with the work in the body: both are committed at its end, or none when it raises.

    `connection`: of psycopg2, PyMySQL or sqlite3; a connection of Django; a session or connection of SQLAlchemy. Inside
    an `atomic` of Django it is a savepoint, and that block commits. `barrier_id` tells the transactions of a call apart
    that makes more than one.

    A second attempt waits for the end of the first. Raises BarrierError for a connection that commits each statement by
    itself, and when the body lost the transaction; whatever the database raises comes through: it is not done then.
    """
    if not 0 < len(barrier_id) <= LONGEST_BARRIER_ID:
        raise ValueError(f"barrier_id must have 1 to {LONGEST_BARRIER_ID} characters")
    with unit_of(connection) as statements:
        entry = _Entry(statements, call=call, barrier_id=barrier_id)
        is_first = entry.insert()
        turn = entry.turn(is_first=is_first)
        yield turn
        if is_first:
            entry.keep(turn.answer)


def create_table(connection: Any) -> None:
    """Makes the table where it is not there yet. `SQL` has the statements, for migrations."""
    with outside_of_units(connection) as statements:
        for statement in SQL[statements.database]:
            statements.execute(statement)


class _Entry:
    """The rows of one call."""

    def __init__(self, statements: Statements, *, call: Call, barrier_id: str) -> None:
        self._statements, self._call, self._barrier_id = statements, call, barrier_id
        self._is_empty = False

    def insert(self) -> bool:
        """Whether the call's own row is new.

        The origin comes first for both directions: an action and its compensation wait for each other on that one row,
        and on no second one, so they cannot deadlock.
        """
        if self._call.origin:
            self._is_empty = self._insert(self._call.origin, answer="null")
        return self._insert(self._call.op, answer=None)

    def turn(self, *, is_first: bool) -> Turn:
        if not is_first:
            logger.info("%s was there before: nothing is done", self._call)
            return Turn(is_mine=False, answer=self._first_answer())
        if self._is_empty:
            logger.info("%s undoes what never ran: nothing is done", self._call)
        return Turn(is_mine=not self._is_empty)

    def keep(self, answer: Any) -> None:
        """Fails when the row has gone: then the transaction is another one, and what it holds is not the whole work.

        That happens when the body caught an error with which the database rolled back, as MySQL does for a deadlock, or
        rolled back by itself. PostgreSQL would turn the commit of an aborted transaction into a rollback, in silence;
        here it refuses the statement.
        """
        text = json.dumps(answer, allow_nan=False)
        count, _ = self._statements.execute(KEEP, text, *self._key(self._call.op))
        if count != 1:
            raise BarrierError(f"the transaction of {self._call} was rolled back on the way: nothing is committed")

    def _insert(self, op: str, *, answer: str | None) -> bool:
        statement = INSERT[self._statements.database]
        count, _ = self._statements.execute(statement, *self._key(op), self._call.op, answer)
        return count == 1

    def _first_answer(self) -> Any:
        _, text = self._statements.execute(ANSWER[self._statements.database], *self._key(self._call.op))
        return json.loads(text) if text else None

    def _key(self, op: str) -> tuple[str, ...]:
        return self._call.instance_id, self._call.branch_id, op, self._barrier_id
