"""What a transaction's page shows of others: the one that started it, and those that it has started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Case, Q, When

from dist_task.states import TransactionStatus
from transactions.models import Transaction

MOST_CHILDREN = 10


@dataclass(frozen=True, slots=True)
class Kin:
    """`children` are the newest ones, those that failed first; `has_more` where there are others."""

    parent: Transaction | None
    children: Sequence[Transaction]
    has_more: bool


def kin_of(txn: Transaction, *, may_have_children: bool) -> Kin:
    """One query, and none for most transactions."""
    if txn.parent_id is None and not may_have_children:
        return Kin(None, (), has_more=False)
    wanted = Q(parent=txn) | Q(pk=txn.parent_id)  # which may have been pruned
    rows = Transaction.objects.filter(wanted).select_related("flow").defer("params", "flow__definition")
    parent_first = Case(When(pk=txn.parent_id or 0, then=0), default=1)
    found = list(rows.order_by(parent_first, "-id")[: MOST_CHILDREN + 2])
    parent = next((each for each in found if each.pk == txn.parent_id), None)
    children = [each for each in found if each is not parent]
    shown = sorted(children[:MOST_CHILDREN], key=lambda child: child.status != TransactionStatus.FAILED)
    return Kin(parent, shown, has_more=len(children) > MOST_CHILDREN)
