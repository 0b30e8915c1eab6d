"""What a transaction has to do with others, and how the items of its tasks stand: asked only where it has any."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Protocol

from django.db.models import Count, F, Func, IntegerField, Q

from dist_task.models import TaskRun
from dist_task.states import WHOLE, Op, RunStatus
from flows.definition import FlowDefinition

from .models import Transaction
from .serializers import ALONE, Kin

TOTAL = Func(F("input__items"), function="jsonb_array_length", output_field=IntegerField())


class Row(Protocol):
    """What of a transaction is asked for here."""

    @property
    def id(self) -> int: ...
    @property
    def flow_id(self) -> str: ...
    @property
    def parent_id(self) -> int | None: ...
    @property
    def parent_task_id(self) -> str: ...
    @property
    def parent_op(self) -> str: ...
    @property
    def parent_item(self) -> int: ...


def kin_of(rows: Sequence[Row], *, definitions: Mapping[str, FlowDefinition]) -> dict[int, Kin]:
    """By transaction; those that have nothing of it are left out. At most four statements."""
    spread = {row.id: definitions[row.flow_id].fans for row in rows if definitions[row.flow_id].fans}
    starting = {row.id for row in rows if definitions[row.flow_id].has_subflows}
    parents = {row.parent_id for row in rows if row.parent_id is not None}
    if not (spread or starting or parents):
        return {}
    items, children, names = _items(spread), _children(starting), _names(parents)
    return {
        row.id: Kin(items.get(row.id, ALONE.items), children.get(row.id, ALONE.children), _parent(row, names=names))
        for row in rows
    }


def _items(fans_of: Mapping[int, tuple[str, ...]]) -> dict[int, dict[str, dict[str, int]]]:
    """Transaction to task to how many of its items stand how. Their list is in the input of the task's own run; what is
    given to other tasks may have a member of the same name."""
    if not fans_of:
        return {}
    of_fans = (Q(transaction=transaction_id, task_id__in=fans) for transaction_id, fans in fans_of.items())
    forth = TaskRun.objects.filter(reduce(or_, of_fans), op=Op.ACTION)
    found: dict[int, dict[str, dict[str, int]]] = {}
    totals = forth.filter(item=WHOLE, input__items__isnull=False)
    for transaction_id, task_id, total in totals.values_list("transaction_id", "task_id", TOTAL):
        counts = {"total": total, **dict.fromkeys(RunStatus.values, 0), "pending": total}
        found.setdefault(transaction_id, {})[task_id] = counts
    stand = forth.filter(item__gt=WHOLE).values_list("transaction_id", "task_id", "status").annotate(Count("id"))
    for transaction_id, task_id, status, count in stand.order_by():
        of_task = found.get(transaction_id, {}).get(task_id)
        if of_task is None:
            continue  # it has begun since the first question
        of_task[status] += count
        of_task["pending"] -= count
    return found


def _children(ids: Collection[int]) -> dict[int, dict[str, str]]:
    """Transaction to task to the one that it started. Those of items are many: the list of transactions has them."""
    if not ids:
        return {}
    found: dict[int, dict[str, str]] = {}
    children = Transaction.objects.filter(parent__in=ids, parent_item=WHOLE, parent_op=Op.ACTION)
    for parent_id, task_id, instance_id in children.values_list("parent_id", "parent_task_id", "instance_id"):
        found.setdefault(parent_id, {})[task_id] = instance_id
    return found


def _names(ids: Iterable[int]) -> dict[int, str]:
    return dict(Transaction.objects.filter(pk__in=ids).values_list("pk", "instance_id")) if ids else {}


def _parent(row: Row, *, names: Mapping[int, str]) -> dict[str, Any] | None:
    """None where it has none, or where that was pruned."""
    if row.parent_id is None or row.parent_id not in names:
        return None
    return {
        "instance_id": names[row.parent_id],
        "task_id": row.parent_task_id,
        "op": row.parent_op,
        "item": row.parent_item,
    }
