"""What a transaction's page shows of others: what started it, what it has started, what it is run again of, and as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Case, OuterRef, Q, Subquery, When

from dist_task.states import TransactionStatus
from transactions.models import Transaction

MOST_CHILDREN = 10


@dataclass(frozen=True, slots=True)
class Kin:
    """`children` are the newest ones, those that failed first; `has_more` where there are others."""

    parent: Transaction | None = None
    children: Sequence[Transaction] = ()
    has_more: bool = False
    rerun_of: Transaction | None = None
    rerun_as: Transaction | None = None


RERUN_AS = Subquery(Transaction.objects.filter(rerun_of=OuterRef("pk")).values("pk"))


def kin_of(txn: Transaction, *, rerun_as_id: int | None, may_have_children: bool) -> Kin:
    """One query, and none for most transactions. `rerun_as_id`: see RERUN_AS."""
    others = [pk for pk in (txn.parent_id, txn.rerun_of_id, rerun_as_id) if pk is not None]  # may have been pruned
    if not (others or may_have_children):
        return Kin()
    wanted = Q(pk__in=others) | (Q(parent=txn) if may_have_children else Q(pk__in=()))
    rows = Transaction.objects.filter(wanted).select_related("flow").defer("params", "flow__definition")
    children_last = Case(When(parent=txn, then=1), default=0)
    found = list(rows.order_by(children_last, "-id")[: MOST_CHILDREN + 4])
    children = [each for each in found if each.parent_id == txn.pk]
    return Kin(
        parent=next((each for each in found if each.pk == txn.parent_id), None),
        children=sorted(children[:MOST_CHILDREN], key=lambda child: child.status != TransactionStatus.FAILED),
        has_more=len(children) > MOST_CHILDREN,
        rerun_of=next((each for each in found if each.pk == txn.rerun_of_id), None),
        rerun_as=next((each for each in found if each.pk == rerun_as_id), None),
    )
