"""The flows: pay -> ship (a transaction for each parcel) -> invoice, where ship is book -> collect."""

from __future__ import annotations

from typing import Any

SHIP = "ship_parcel"
AGAIN = {"strategy": "auto", "max_attempts": 5, "interval": 0.3, "backoff": "exponential"}


def ship_parcel(url: str) -> dict[str, Any]:
    """`url`: of the company. Its params are one parcel."""
    schema = {"type": "object", "required": ["town"], "properties": {"town": {"type": "string"}}}
    return {"params_schema": schema, "tasks": [book(url), collect(url)]}


def book(url: str) -> dict[str, Any]:
    return {
        "id": "book",
        "type": "http",
        "config": {"url": f"{url}/book"},
        "input": {"town": "${params.town}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/unbook"}, "retry": AGAIN},
    }


def collect(url: str) -> dict[str, Any]:
    """The company answers 425 until the van has been there: nobody holds the transaction meanwhile."""
    return {
        "id": "collect",
        "type": "http",
        "depends_on": ["book"],
        "config": {"url": f"{url}/collect"},
        "input": {"parcel": "${tasks.book.output.parcel}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/return"}, "retry": AGAIN},
    }


def order(url: str, *, on_failure: str) -> dict[str, Any]:
    """`on_failure`: wait (for a person), or compensate."""
    return {"on_failure": on_failure, "tasks": [pay(url), ship(), invoice(url)]}


def pay(url: str) -> dict[str, Any]:
    return {
        "id": "pay",
        "type": "http",
        "config": {"url": f"{url}/charge"},
        "input": {"customer": "${params.customer}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/refund"}, "retry": AGAIN},
    }


def ship() -> dict[str, Any]:
    """Needs no `compensate`: each transaction is undone as its own flow says."""
    return {
        "id": "ship",
        "type": "subflow",
        "depends_on": ["pay"],
        "foreach": "params.parcels",
        "config": {"flow": SHIP},
        "input": {"town": "${item.town}"},
    }


def invoice(url: str) -> dict[str, Any]:
    return {
        "id": "invoice",
        "type": "http",
        "depends_on": ["ship"],
        "config": {"url": f"{url}/invoice"},
        "input": {"customer": "${params.customer}", "shipped": "${tasks.ship.output}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/void"}, "retry": AGAIN},
    }
