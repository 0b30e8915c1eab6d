"""script/example money_transfer, short; and that its check sees what is wrong."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dist_task.client import Transaction
from examples.money_transfer.transfers import Transfer, accounts_due, complaints, transfers

from .conftest import example


@pytest.mark.cluster
@pytest.mark.slow
def test_no_cent_is_missing_after_a_kill() -> None:
    done = example("money_transfer", "50", "--kills", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"of 50 have ended: worker is killed", done.stdout)
    happened, undone = map(int, re.findall(r"^(\d+) happened, (\d+) were undone", done.stdout, flags=re.MULTILINE)[0])
    assert happened + undone == 50
    assert undone > 0
    assert "both banks together: 80,000.00 before, 80,000.00 now" in done.stdout


def test_bad_arguments_give_a_sentence() -> None:
    done = example("money_transfer", "0")

    assert done.returncode == 2
    assert "N must be above 0" in done.stderr


MADE = [Transfer("happened", "north-1", "south-2", 7), Transfer("undone", "north-1", "south-40", 5)]


def ended(instance_id: str, *, status: str, compensation: str) -> Transaction:
    unknown: dict[str, Any] = dict.fromkeys(Transaction.__dataclass_fields__)
    blank = Transaction(**unknown)
    return replace(blank, instance_id=instance_id, status=status, compensation=compensation, tasks=())


def judged(change: Callable[[dict[str, Any]], None]) -> list[str]:
    """What is said of two transfers that are as they should be, but for a change."""
    facts: dict[str, Any] = {
        "ended": {
            "happened": ended("happened", status="success", compensation="none"),
            "undone": ended("undone", status="failed", compensation="done"),
        },
        "accounts": accounts_due(MADE[:1]),
        "incoming": ["happened"],
    }
    change(facts)
    return complaints(MADE, **facts)


def test_nothing_is_said_where_all_fits() -> None:
    assert judged(lambda facts: None) == []


def test_a_missing_cent_is_seen() -> None:
    def steal(facts: dict[str, Any]) -> None:
        facts["accounts"]["south-2"] -= 1

    assert judged(steal) == ["south-2 has 100006 cents, not 100007"]


def test_a_transfer_that_one_side_does_not_know_is_seen() -> None:
    assert judged(lambda facts: facts["incoming"].append("undone")) == [
        "only one of bank and service says that undone happened"
    ]


def test_a_transfer_that_was_not_undone_is_seen() -> None:
    def stay(facts: dict[str, Any]) -> None:
        facts["ended"]["undone"] = ended("undone", status="failed", compensation="failed")

    assert judged(stay) == ["undone ended as ('failed', 'failed')"]


def test_a_seed_makes_the_same_transfers() -> None:
    first, second = (list(transfers(20, dice=random.Random(5))) for _ in range(2))

    assert first == second
    assert {transfer.direction for transfer in first} == {("north", "south"), ("south", "north")}
