"""How many calls a worker makes at once: in all, per called host, and per transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Waiting(Protocol):
    def advance(self) -> None:
        """Tries again to take what it needs."""


@dataclass(slots=True)
class Slots:
    """A slow service fills its own cap and leaves the others free; a wide transaction leaves room for the rest.

    Whoever is refused waits in line for its target; each slot that comes free lets one of them try again. `caps`
    are those of targets that have one of their own, by whose they are; they may change at any time.
    """

    total: int
    per_target: int
    per_transaction: int
    caps: Sequence[Mapping[str, int]] = ()
    _used: int = 0
    _targets: dict[str, int] = field(default_factory=dict)
    _transactions: dict[int, int] = field(default_factory=dict)
    _lines: defaultdict[str, dict[Waiting, None]] = field(default_factory=lambda: defaultdict(dict))

    def take(self, *, target: str, transaction_id: int, waiting: Waiting) -> bool:
        """False when a cap is reached. A target without a name is not capped.

        At the cap of its own transaction nobody needs to wait in line: it tries again whenever an attempt of it ends.
        """
        of_transaction = self._transactions.get(transaction_id, 0)
        if of_transaction >= self.per_transaction:
            return False
        if self.room(target) <= 0:
            self._lines[target][waiting] = None
            return False
        self._used += 1
        self._targets[target] = self._targets.get(target, 0) + 1
        self._transactions[transaction_id] = of_transaction + 1
        return True

    def is_full(self, transaction_id: int) -> bool:
        """Whether a transaction has as many calls in flight as it may have."""
        return self._transactions.get(transaction_id, 0) >= self.per_transaction

    def room(self, target: str) -> int:
        """How many calls to this target may start now."""
        left = self.total - self._used
        if not target:
            return left
        cap = self.per_target
        for caps in self.caps:
            if target in caps:
                cap = caps[target]
        return min(left, cap - self._targets.get(target, 0))

    def give_back(self, *, target: str, transaction_id: int) -> Waiting | None:
        """Returns who should try again now: the next in line for this target, else for any."""
        self._used -= 1
        _count_down(self._targets, target)
        _count_down(self._transactions, transaction_id)
        return self._next_in_line(target)

    def forget(self, waiting: Waiting) -> None:
        for line in self._lines.values():
            line.pop(waiting, None)

    def _next_in_line(self, target: str) -> Waiting | None:
        line = self._lines.get(target) or next((line for line in self._lines.values() if line), None)
        if not line:
            return None
        first = next(iter(line))
        del line[first]
        return first


def _count_down(counts: dict[Any, int], key: object) -> None:
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1
