"""script/example subflow; and that its check sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from examples.subflow.orders import ORDERS, Line, complaints
from examples.subflow.tree import Tree, disagreements

from .conftest import example


@pytest.mark.cluster
@pytest.mark.slow
def test_parcels_are_repaired_undone_and_cancelled_with_their_orders() -> None:
    done = example("subflow")

    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.strip() for line in done.stdout.splitlines()]
    assert "order-repaired: failed: pay success, ship failed, invoice pending" in said
    assert "order-repaired: success: pay success, ship success, invoice success" in said
    assert "order-undone: failed, compensation done: pay success, ship success, invoice failed" in said
    undone = "(by ship, item 1): success, compensation done: book success, collect success"
    assert f"order-undone.ship:1 {undone}" in said
    assert "order-cancelled.ship:2 (by ship, item 2): cancelled: book success, collect failed" in said
    assert said[-1] == "every parcel went the way of its order, and the money too"


def lines_of(parcel: str, town: str, *tasks: str) -> list[Line]:
    return [(parcel, task, town if task in ("book", "collect") else "") for task in tasks]


def journal() -> list[Line]:
    """Of an order that was repaired and one that was cancelled."""
    shipped, returned = ("book", "collect"), ("book", "collect", "return", "unbook")
    good, bad = "order-repaired", "order-cancelled"
    return [
        (good, "charge", "ann"),
        *lines_of(f"{good}.ship:0", "Oslo", *shipped),
        *lines_of(f"{good}.ship:1", "Bergen", *shipped),
        *lines_of(f"{good}.ship:2", "Bodin", *shipped),
        (good, "invoice", "Oslo, Bergen, Bodin"),
        (bad, "charge", "cleo"),
        *lines_of(f"{bad}.ship:0", "Oslo", *returned),
        *lines_of(f"{bad}.ship:1", "Voss", "book", "unbook"),
        *lines_of(f"{bad}.ship:2", "Molde", "book", "unbook"),
        (bad, "refund", ""),
    ]


def judged(change: Callable[[list[Line]], object]) -> list[str]:
    lines = journal()
    change(lines)
    return complaints([order for order in ORDERS if order.name != "undone"], journal=lines)


def test_nothing_is_said_where_all_fits() -> None:
    assert judged(lambda lines: None) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines.pop(), "order-cancelled: ['charge'] was done and not ['charge', 'refund']"),
        (lambda lines: lines.insert(0, lines[0]), "order-repaired: ['charge', 'charge', 'invoice'] was done"),
        (lambda lines: lines.remove(("order-cancelled.ship:0", "return", "")), "order-cancelled.ship:0: ['book', 'c"),
        (lambda lines: lines.append(("order-repaired.ship:3", "book", "Rome")), "order-repaired.ship:3: ['book'] was"),
        (lambda lines: lines.insert(-2, lines.pop()), "the last line of order-cancelled is"),
        (lambda lines: lines.__setitem__(7, (*lines[7][:2], "Bodin, Oslo")), "names Bodin, Oslo and not Oslo, Bergen"),
        (lambda lines: lines.clear(), "order-repaired: [] was done"),
    ],
)
def test_what_does_not_fit_is_seen(change: Callable[[list[Line]], object], sentence: str) -> None:
    assert any(sentence in said for said in judged(change))


def family(**of_child: Any) -> Tree:
    """An order and the two parcels that it started; the second one with a change."""
    items = [{"item": number, "status": "success", "error_code": ""} for number in range(2)]
    children: list[dict[str, Any]] = [
        {
            "instance_id": f"o.ship:{number}",
            "status": "success",
            "parent": {"instance_id": "o", "task_id": "ship", "op": "action", "item": number},
        }
        for number in range(2)
    ]
    children[1] |= of_child
    return Tree({"instance_id": "o"}, items, children)


def test_both_sides_of_a_family_agree() -> None:
    assert disagreements(family(), parcels=2) == []


@pytest.mark.parametrize(
    ("of_child", "parcels", "sentence"),
    [
        ({}, 3, "o has 2 items and 2 children, not 3"),
        ({"status": "failed"}, 2, "o.ship:1 is failed, but success to o"),
        ({"parent": None}, 2, "o.ship:1 names None as its parent"),
    ],
)
def test_sides_that_disagree_are_seen(of_child: dict[str, Any], parcels: int, sentence: str) -> None:
    assert disagreements(family(**of_child), parcels=parcels) == [sentence]
