"""The flow: (approve) -> pay -> reserve -> ship, by post or by express. Amounts are in cents."""

from __future__ import annotations

from typing import Any

LARGE_CENTS = 100_000
EXPRESS_CENTS = 20_000
AGAIN = {"strategy": "auto", "max_attempts": 5, "interval": 0.5, "backoff": "exponential"}


def definition(*, payment: str, stock: str, shipping: str) -> dict[str, Any]:
    """Over the services at these addresses."""
    return {"on_failure": "compensate", "tasks": [approve(), pay(payment), reserve(stock), *ways_to_ship(shipping)]}


def approve() -> dict[str, Any]:
    return {
        "id": "approve",
        "type": "approval",
        "when": f"params.cents >= {LARGE_CENTS}",
        "config": {"message": "An order of ${params.customer} over ${params.cents} cents", "within": 86_400},
    }


def pay(url: str) -> dict[str, Any]:
    return {
        "id": "pay",
        "type": "http",
        "depends_on": ["approve"],
        "config": {"url": f"{url}/charge"},
        "input": {"customer": "${params.customer}", "cents": "${params.cents}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/refund"}, "input": {"payment": "${output.payment}"}, "retry": AGAIN},
    }


def reserve(url: str) -> dict[str, Any]:
    return {
        "id": "reserve",
        "type": "http",
        "depends_on": ["pay"],
        "config": {"url": f"{url}/reserve"},
        "input": {"article": "${params.article}", "quantity": "${params.quantity}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/release"}, "input": {"hold": "${output.hold}"}, "retry": AGAIN},
    }


def ways_to_ship(url: str) -> list[dict[str, Any]]:
    """One of them is skipped. The last task can be undone as well: its answers may be lost until it is given up."""
    parcel = {
        "type": "http",
        "depends_on": ["reserve"],
        "input": {"hold": "${tasks.reserve.output.hold}", "town": "${params.town}"},
        "retry": AGAIN,
        "compensate": {"config": {"url": f"{url}/recall"}, "retry": AGAIN},
    }
    by_post = {"id": "ship", "when": f"params.cents < {EXPRESS_CENTS}", "config": {"url": f"{url}/post"}}
    by_express = {"id": "express", "when": f"params.cents >= {EXPRESS_CENTS}", "config": {"url": f"{url}/express"}}
    return [{**parcel, **by_post}, {**parcel, **by_express}]
