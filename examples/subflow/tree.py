"""An order and its parcels, as the API tells it from both sides: what the order started, and who started a parcel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from examples.api import get, transaction

TOLD = {"success": ("success", ""), "failed": ("failed", "CHILD_FAILED"), "cancelled": ("failed", "CHILD_CANCELLED")}
"""The status of a parcel that has done something, to the status and the error code of its item above."""


@dataclass(frozen=True, slots=True)
class Tree:
    """`items`: the task runs of `ship`, by item. `children`: the transactions of the parcels, in the same order."""

    order: dict[str, Any]
    items: Sequence[dict[str, Any]]
    children: Sequence[dict[str, Any]]

    @property
    def ends(self) -> list[str]:
        """The statuses of the order and of its parcels."""
        return [txn["status"] for txn in (self.order, *self.children)]

    @property
    def compensations(self) -> list[str]:
        return [txn["compensation"] for txn in (self.order, *self.children)]


def tree(server: str, instance_id: str) -> Tree:
    """Read from above, the order first: what is below one that has ended is at rest.

    The parcels are those transactions that name it as their parent.
    """
    address = f"{server}/api/v1/transactions"
    order = transaction(server, instance_id)
    names = sorted(each["instance_id"] for each in get(f"{address}?parent={instance_id}&page_size=200")["list"])
    children = [transaction(server, name) for name in names]
    items = get(f"{address}/{instance_id}/tasks?task_id=ship&op=action&page_size=200")["list"]
    return Tree(order, [each for each in items if each["item"] >= 0], children)


def lines(shown: Tree) -> Iterator[str]:
    for txn in (shown.order, *shown.children):
        tasks = ", ".join(f"{task['task_id']} {task['status']}" for task in txn["tasks"])
        undone = f", compensation {txn['compensation']}" if txn["compensation"] != "none" else ""
        started = f" (by {txn['parent']['task_id']}, item {txn['parent']['item']})" if txn["parent"] else ""
        yield f"{'  ' if txn['parent'] else ''}{txn['instance_id']}{started}: {txn['status']}{undone}: {tasks}"


def disagreements(shown: Tree, *, parcels: int) -> list[str]:
    """Where the two sides say different things of a tree that is at rest."""
    name = shown.order["instance_id"]
    wrong = []
    if len(shown.children) != parcels or len(shown.items) != parcels:
        wrong.append(f"{name} has {len(shown.items)} items and {len(shown.children)} children, not {parcels}")
    for item, child in zip(sorted(shown.items, key=lambda each: int(each["item"])), shown.children, strict=False):
        due = {"instance_id": name, "task_id": "ship", "op": "action", "item": item["item"]}
        if child["parent"] != due:
            wrong.append(f"{child['instance_id']} names {child['parent']} as its parent")
        if (item["status"], item["error_code"]) != TOLD[child["status"]]:
            wrong.append(f"{child['instance_id']} is {child['status']}, but {item['status']} to {name}")
    return wrong
