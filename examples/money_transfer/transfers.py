"""Which transfers are made, and what the banks must hold after them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dist_task.client import Start, Transaction

from .banks import ACCOUNTS, CLOSED, FIRST_CENTS, NAMES

MOST_CENTS = 5_000
TOO_MANY_CENTS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Transfer:
    instance_id: str
    source: str
    target: str
    cents: int

    @property
    def params(self) -> dict[str, Any]:
        return {"source": self.source, "target": self.target, "cents": self.cents}

    @property
    def direction(self) -> tuple[str, str]:
        source, target = (account.partition("-")[0] for account in (self.source, self.target))
        return source, target

    def start(self, flow_ids: Mapping[tuple[str, str], str]) -> Start:
        return Start(self.instance_id, flow_ids[self.direction], self.params)


def transfers(count: int, *, dice: random.Random) -> Iterator[Transfer]:
    """One in ten asks for more than anybody has; some go to accounts that are closed."""
    for number in range(count):
        source, target = dice.sample(NAMES, k=2)
        cents = TOO_MANY_CENTS if dice.random() < 0.1 else dice.randint(1, MOST_CENTS)
        from_open, to_any = dice.randint(1, ACCOUNTS - CLOSED), dice.randint(1, ACCOUNTS)
        yield Transfer(f"transfer-{number:05d}", f"{source}-{from_open}", f"{target}-{to_any}", cents)


def accounts_due(happened: Iterable[Transfer]) -> dict[str, int]:
    """The cents of every account after these."""
    accounts = {f"{name}-{number}": FIRST_CENTS for name in NAMES for number in range(1, ACCOUNTS + 1)}
    for transfer in happened:
        accounts[transfer.source] -= transfer.cents
        accounts[transfer.target] += transfer.cents
    return accounts


def complaints(
    made: Sequence[Transfer], *, ended: Mapping[str, Transaction], accounts: Mapping[str, int], incoming: Sequence[str]
) -> list[str]:
    """One sentence for whatever does not fit: transactions, accounts to the cent, and what the banks know of."""
    states = {name: (txn.status, txn.compensation) for name, txn in ended.items()}
    happened = [transfer for transfer in made if states[transfer.instance_id] == ("success", "none")]
    due, names = accounts_due(happened), [transfer.instance_id for transfer in happened]
    return [
        *(f"{name} ended as {state}" for name, state in states.items() if state not in ENDS),
        *(f"{name} has {accounts[name]} cents, not {due[name]}" for name in due if accounts[name] != due[name]),
        *(f"only one of bank and service says that {name} happened" for name in sorted(set(names) ^ set(incoming))),
    ]


ENDS = (("success", "none"), ("failed", "done"))
