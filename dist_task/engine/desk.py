"""What a hand needs of its worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dist_task.executors.base import Ongoing, Result, TaskCall
from dist_task.states import RunKey

from .apart import Apart
from .slots import Slots
from .store.batch import Write

if TYPE_CHECKING:
    from .hand import Hand


class Attempt(NamedTuple):
    """Names one attempt of one task run."""

    transaction_id: int
    task_id: str
    op: str
    item: int
    number: int


class Desk(Protocol):
    slots: Slots
    apart: Apart
    worker_id: int

    @property
    def accepting(self) -> bool:
        """False once the worker is to end: nothing new starts."""

    def submit(self, write: Write, *, hand: Hand) -> None:
        """Calls the hand's `written` or `refused` once the write's fate is known."""

    def reload(self, hand: Hand) -> None:
        """Reads the transaction again and calls `reloaded`, or `drop` when it is not this worker's any more."""

    def fetch_done(self, hand: Hand, keys: Collection[RunKey]) -> None:
        """Reads what these runs were given and gave in the forward work (see claims.done), and calls `fetched`."""

    async def ask_child(self, hand: Hand, call: TaskCall) -> Result | Ongoing:
        """What becomes of the transaction that a subflow starts (see children.ask). Raises ExecutionError."""

    def let_go(self, hand: Hand) -> None:
        """The hand is empty: the transaction was finished, released, or lost."""

    def park(self, hand: Hand, *, error: BaseException) -> None:
        """The engine itself failed over this transaction."""

    def give_up(self, attempts: Collection[Attempt]) -> None:
        """These calls were begun and are not followed any more."""

    def was_given_up(self, attempt: Attempt) -> bool: ...
