"""The expenses, and how each should end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .flow import LARGE_CENTS


@dataclass(frozen=True, slots=True)
class Expense:
    """`decision`: approve, reject, or "" where nobody decides. `tries`: an operator tries first, and may not.

    `end`: the status of the transaction, and the code of its exception.
    """

    name: str
    story: str
    who: str
    cents: int
    what: str
    decision: str = ""
    remark: str = ""
    within_seconds: float = 86_400
    tries: bool = False
    end: tuple[str, str] = ("success", "")

    @property
    def instance_id(self) -> str:
        return f"expense-{self.name}"

    @property
    def params(self) -> dict[str, Any]:
        return {"who": self.who, "cents": self.cents, "what": self.what}

    @property
    def needs_approval(self) -> bool:
        return self.cents >= LARGE_CENTS

    @property
    def is_paid(self) -> bool:
        return self.end[0] == "success"


EXPENSES = (
    Expense("small", "below the limit: nobody is asked", "ann", LARGE_CENTS - 1, "a train ticket"),
    Expense(
        "approved", "at the limit: an operator may not approve it, a supervisor does", "bob", LARGE_CENTS, "a chair",
        decision="approve", remark="within the budget", tries=True,
    ),
    Expense(
        "rejected", "a supervisor rejects it: nothing is paid", "ann", 7_500_000, "a sailing boat",
        decision="reject", remark="not this year", end=("failed", "REJECTED"),
    ),
    Expense(
        "forgotten", "nobody decides until it is too late: nothing is paid", "bob", 90_000, "a standing desk",
        within_seconds=5, end=("failed", "NO_ANSWER"),
    ),
)  # fmt: skip


def complaints(expenses: Sequence[Expense], *, paid: Mapping[str, Mapping[str, Any]], approver: str) -> list[str]:
    """What accounting has paid, or was told, that it should not have; expenses that have all ended."""
    wrong = [f"{name} was paid" for name in paid if name not in {each.instance_id for each in expenses if each.is_paid}]
    for expense in (each for each in expenses if each.is_paid):
        found = paid.get(expense.instance_id, {})
        if found.get("cents") != expense.cents:
            wrong.append(f"{expense.instance_id}: {found.get('cents')} cents were paid instead of {expense.cents}")
        due = {"approved_by": approver, "remark": expense.remark} if expense.needs_approval else None
        if found.get("approval") != due:
            wrong.append(f"{expense.instance_id}: accounting was told {found.get('approval')} and not {due}")
    return wrong
