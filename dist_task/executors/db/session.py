"""What a connection to somebody else's database can do, whichever database it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from .change import Change
from .statement import Statement


@dataclass(frozen=True, slots=True)
class Answer:
    """`rows` were touched, `records` came back; `inserted_id` is a number that MySQL gave the new row."""

    rows: int
    records: tuple[dict[str, Any], ...] = ()
    inserted_id: int | None = None


class Session(Protocol):
    """One connection, used by one thread at a time. Every method keeps the deadline of `begin`.

    Each raises ExecutionError: what is not committed is not done, only `commit` may leave it unknown. `is_usable`
    is false once the connection is broken, or may have an answer under way. `latest` ends a SELECT that is to see
    what was committed since the transaction began.
    """

    latest: str

    @property
    def is_usable(self) -> bool: ...

    def begin(self, *, ends_at: float, patience_seconds: float) -> None:
        """Begins a transaction whose statements and locks wait no longer than `ends_at` (of the monotonic clock).

        `patience_seconds`: how long this one may take.
        """

    def execute(self, statement: Statement) -> Answer: ...

    def insert_once(self, statement: Statement) -> bool:
        """False where a row with this key is there; waits for the end of a transaction that has put one."""

    def apply(self, change: Change) -> Answer: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def create_barrier(self) -> None:
        """In a transaction of its own. Whoever else does the same at the same time is no harm."""

    def close(self) -> None:
        """Never raises."""
