"""The flow from one bank to the other: announce -> take -> give. Amounts are in cents."""

from __future__ import annotations

from typing import Any

AGAIN = {"strategy": "auto", "max_attempts": 30, "interval": 0.2, "backoff": "exponential", "max_interval": 5}
"""Each effect happens once, however often it is tried: a retry is always safe."""


def definition(source: str, target: str) -> dict[str, Any]:
    """`source`, `target`: names of connections, which templates may not choose. Two directions are two flows."""
    return {"on_failure": "compensate", "tasks": [announce(target), take(source), give(target)]}


def announce(bank: str) -> dict[str, Any]:
    row = {"id": "${instance_id}", "account": "${params.target}", "cents": "${params.cents}"}
    place = {"connection": bank, "table": "incoming", "expect_rows": 1}
    return {
        "id": "announce",
        "type": "db",
        "config": {**place, "operation": "insert", "values": row},
        "retry": AGAIN,
        "compensate": undo({**place, "operation": "delete", "where": {"id": "${instance_id}"}}),
    }


def take(bank: str) -> dict[str, Any]:
    """Where the account has less, no row is found, and `expect_rows` fails the task for good."""
    change = {"connection": bank, "table": "accounts", "operation": "update", "expect_rows": 1}
    enough = {"id": "${params.source}", "cents": {"op": ">=", "value": "${params.cents}"}}
    return {
        "id": "take",
        "type": "db",
        "depends_on": ["announce"],
        "config": {**change, "decrement": {"cents": "${params.cents}"}, "where": enough},
        "retry": AGAIN,
        "compensate": undo({**change, "increment": {"cents": "${params.cents}"}, "where": {"id": "${params.source}"}}),
    }


def give(bank: str) -> dict[str, Any]:
    """The last task is undone as well: it fails now and then without anybody knowing whether it was done."""
    change = {"connection": bank, "table": "accounts", "operation": "update", "expect_rows": 1}
    open_account = {"id": "${params.target}", "is_open": True}
    return {
        "id": "give",
        "type": "db",
        "depends_on": ["take"],
        "config": {**change, "increment": {"cents": "${params.cents}"}, "where": open_account},
        "retry": AGAIN,
        "compensate": undo({**change, "decrement": {"cents": "${params.cents}"}, "where": {"id": "${params.target}"}}),
    }


def undo(config: dict[str, Any]) -> dict[str, Any]:
    return {"config": config, "retry": AGAIN}
