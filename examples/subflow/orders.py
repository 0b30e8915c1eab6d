"""The orders, and what each must have left in the company's journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Line = tuple[str, str, str]
"""Of the journal: transaction, what was done, of whom or what."""

BOOKED = ("book", "unbook")
SHIPPED = ("book", "collect")
RETURNED = ("book", "collect", "return", "unbook")


@dataclass(frozen=True, slots=True)
class Order:
    """`own`: what the company did for the order itself. `each`: for its parcels, by their number."""

    name: str
    story: str
    customer: str
    towns: tuple[str, ...]
    own: tuple[str, ...]
    each: tuple[tuple[str, ...], ...]
    on_failure: str = "wait"

    @property
    def instance_id(self) -> str:
        return f"order-{self.name}"

    @property
    def params(self) -> dict[str, Any]:
        return {"customer": self.customer, "parcels": [{"town": town} for town in self.towns]}


ORDERS = (
    Order(
        "repaired", "a parcel is refused: it is repaired, and the order goes on by itself",
        "ann", ("Oslo", "Bergen", "Bodin"), ("charge", "invoice"), (SHIPPED, SHIPPED, SHIPPED),
    ),
    Order(
        "undone", "the invoice is refused at the end: the parcels come back",
        "bob", ("Oslo", "Hamar", "Bodin"), ("charge", "refund"), (RETURNED, RETURNED, RETURNED),
        on_failure="compensate",
    ),
    Order(
        "cancelled", "cancelled while two parcels wait for the van, and undone",
        "cleo", ("Oslo", "Voss", "Molde"), ("charge", "refund"), (RETURNED, BOOKED, BOOKED),
    ),
)  # fmt: skip


def complaints(orders: Sequence[Order], *, journal: Sequence[Line]) -> list[str]:
    """What the company has done that it should not have, or not what it should have, for orders that have all ended."""
    due = {name: tasks for order in orders for name, tasks in lines_due(order).items()}
    found: dict[str, list[str]] = {}
    for txn, what, _of in journal:
        found.setdefault(txn, []).append(what)
    wrong = [
        f"{txn}: {found.get(txn, [])} was done and not {list(due.get(txn, ()))}"
        for txn in sorted(due.keys() | found.keys())
        if found.get(txn, []) != list(due.get(txn, ()))
    ]
    return wrong + [each for order in orders for each in order_complaints(order, journal=journal)]


def lines_due(order: Order) -> dict[str, tuple[str, ...]]:
    """By transaction."""
    parcels = {f"{order.instance_id}.ship:{number}": tasks for number, tasks in enumerate(order.each)}
    return {order.instance_id: order.own, **parcels}


def order_complaints(order: Order, *, journal: Sequence[Line]) -> list[str]:
    """The invoice names all parcels in their order; the money goes back when all parcels are."""
    mine = [line for line in journal if line[0].split(".")[0] == order.instance_id]
    if not mine:
        return []
    last, wrong = mine[-1], []
    if last[:2] not in ((order.instance_id, "invoice"), (order.instance_id, "refund")):
        wrong.append(f"the last line of {order.instance_id} is {last}")
    if last[1] == "invoice" and last[2] != ", ".join(order.towns):
        wrong.append(f"the invoice of {order.instance_id} names {last[2]} and not {', '.join(order.towns)}")
    return wrong
