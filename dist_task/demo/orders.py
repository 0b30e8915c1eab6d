"""The order flow and its orders. Pure: which customer comes when is a table."""

from __future__ import annotations

from typing import Any

FLOW_NAME = "order_flow"
PREFIX = "demo_"
SKUS = ("tea", "cup", "kettle", "honey")
CUSTOMERS = (
    *("good", "shaky", "good", "poor", "slow"),
    *("good", "limit", "good", "mute", "good"),
    *("gone", "good", "lost", "good", "regret"),
    *("good", "soldout", "good", "shaky", "good"),
)


def definition(*, service: str) -> dict[str, Any]:
    """order -> pay -> stock -> (notify, ship), over the services at `service` (host:port)."""
    return {
        "name": FLOW_NAME,
        "description": "An order of the demo shop",
        "tasks": [
            {"id": "order", "name": "Take the order", "type": "http", "config": _at(service, "/orders")},
            _pay(service),
            _stock(service),
            _notify(service),
            _ship(service),
        ],
    }


def _at(service: str, path: str) -> dict[str, Any]:
    return {"url": f"http://{service}{path}", "method": "POST"}


def _pay(service: str) -> dict[str, Any]:
    return {
        "id": "pay",
        "name": "Deduct the amount",
        "task_name": "deduct",
        "depends_on": ["order"],
        "config": {"service": service, "method": "payment.deduct"},
        "timeout": 10,
        "retry": {
            "strategy": "auto",
            "max_attempts": 3,
            "interval": 2,
            "backoff": "exponential",
            "terminal_on": ["INSUFFICIENT_FUNDS", "CARD_LIMIT"],
        },
    }


def _stock(service: str) -> dict[str, Any]:
    return {
        "id": "stock",
        "name": "Reserve the goods",
        "type": "http",
        "depends_on": ["pay"],
        "config": _at(service, "/inventory/reserve"),
        "timeout": 10,
        "retry": {"strategy": "manual", "interval": 5},
    }


def _notify(service: str) -> dict[str, Any]:
    return {
        "id": "notify",
        "name": "Tell the customer",
        "type": "http",
        "depends_on": ["stock"],
        "config": _at(service, "/notifications"),
        "timeout": 5,
        "optional": True,
        "retry": {"strategy": "auto", "max_attempts": 8, "interval": 10, "backoff": "exponential"},
    }


def _ship(service: str) -> dict[str, Any]:
    return {
        "id": "ship",
        "name": "Hand over the parcel",
        "type": "http",
        "depends_on": ["stock"],
        "config": _at(service, "/shipments"),
        "timeout": 5,
        "retry": {"strategy": "manual", "interval": 5},
    }


def customer(number: int) -> str:
    return f"{CUSTOMERS[number % len(CUSTOMERS)]}_{number:05d}"


def instance_id(number: int) -> str:
    return f"{PREFIX}{number:05d}"


def number_of(instance: str) -> int:
    digits = instance.removeprefix(PREFIX)
    return int(digits) if digits.isdecimal() else 0


def params(number: int) -> dict[str, Any]:
    order_id, user_id, sku = instance_id(number), customer(number), SKUS[number % len(SKUS)]
    return {
        "order": {"order_id": order_id, "user_id": user_id, "sku": sku, "quantity": 1 + number % 3},
        "deduct": {"user_id": user_id, "amount": 100 + number % 7 * 50, "order_id": order_id},
        "stock": {"order_id": order_id, "user_id": user_id, "sku": sku, "quantity": 1 + number % 3},
        "notify": {"order_id": order_id, "user_id": user_id, "status": "paid"},
        "ship": {"order_id": order_id, "user_id": user_id},
    }
