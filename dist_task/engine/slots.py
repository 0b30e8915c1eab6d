"""How many calls a worker makes at once: in all, per called host, and per transaction."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Slots:
    """A slow service fills its own cap and leaves the others free; a wide transaction leaves room for the rest."""

    total: int
    per_target: int
    per_transaction: int
    _used: int = 0
    _targets: Counter[str] = field(default_factory=Counter)
    _transactions: Counter[int] = field(default_factory=Counter)

    def take(self, *, target: str, transaction_id: int) -> bool:
        """False when one of the caps is reached. A target without a name is not capped."""
        if self._used >= self.total or self._transactions[transaction_id] >= self.per_transaction:
            return False
        if target and self._targets[target] >= self.per_target:
            return False
        self._used += 1
        self._targets[target] += 1
        self._transactions[transaction_id] += 1
        return True

    def give_back(self, *, target: str, transaction_id: int) -> None:
        self._used -= 1
        _count_down(self._targets, target)
        _count_down(self._transactions, transaction_id)


def _count_down(counter: Counter[Any], key: object) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
