"""The orders, and how each should end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .flow import EXPRESS_CENTS, LARGE_CENTS
from .shop import UNREACHABLE


@dataclass(frozen=True, slots=True)
class Order:
    """`decision`: what the example decides where the flow asks. `lost_answers`: of its payment. `way`: "" is none."""

    name: str
    story: str
    cents: int
    way: str
    customer: str = "ann"
    article: str = "tea"
    quantity: int = 2
    town: str = "Bremen"
    lost_answers: int = 0
    decision: str = ""

    @property
    def instance_id(self) -> str:
        return f"order-{self.name}"

    @property
    def params(self) -> dict[str, Any]:
        names = ("customer", "article", "quantity", "town", "cents")
        return {name: getattr(self, name) for name in names}


ORDERS = (
    Order("good", "everything goes well", cents=4_999, way="post"),
    Order("express", "dear enough to travel by express", cents=EXPRESS_CENTS, way="express"),
    Order("refused", "shipping refuses: all is undone", cents=7_301, way="", customer="bob", town=UNREACHABLE),
    Order("lost", "paid at once, but two answers are lost: charged once", cents=1_207, way="post", lost_answers=2),
    Order(
        "approved", "large: waits for a person, who approves", cents=LARGE_CENTS, way="express",
        customer="bob", article="kettle", decision="approve",
    ),
    Order(
        "rejected", "large: waits for a person, who rejects", cents=LARGE_CENTS + 1, way="",
        article="kettle", decision="reject",
    ),
)  # fmt: skip
