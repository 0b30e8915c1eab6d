"""The flow: approve (from 500.00 on) -> pay. Amounts are in cents."""

from __future__ import annotations

from typing import Any

LARGE_CENTS = 50_000
ROLE = "supervisor"


def definition(*, accounting: str, within_seconds: float) -> dict[str, Any]:
    """`within_seconds`: how long there is to decide."""
    return {"tasks": [approve(within_seconds), pay(accounting)]}


def approve(within_seconds: float) -> dict[str, Any]:
    return {
        "id": "approve",
        "type": "approval",
        "when": f"params.cents >= {LARGE_CENTS}",
        "config": {
            "role": ROLE,
            "message": "${params.who} asks for ${params.cents} cents: ${params.what}",
            "within": within_seconds,
        },
    }


def pay(url: str) -> dict[str, Any]:
    return {
        "id": "pay",
        "type": "http",
        "depends_on": ["approve"],
        "config": {"url": f"{url}/pay"},
        "input": {
            "who": "${params.who}",
            "cents": "${params.cents}",
            "approval": "${tasks.approve.output}",  # null where none was needed
        },
        "retry": {"strategy": "auto", "max_attempts": 5, "interval": 0.5, "backoff": "exponential"},
    }
