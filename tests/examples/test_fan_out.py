"""script/example fan_out, short; and that its check sees what is wrong."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable

import pytest

from examples.fan_out.articles import Article, articles, complaints, items_complaints, ledger_before
from examples.fan_out.shop import Ledger, is_gone

from .conftest import example


@pytest.mark.cluster
@pytest.mark.slow
def test_each_price_is_raised_once_although_a_worker_is_killed() -> None:
    done = example("fan_out", "100", "--kills", "1", "--seed", "7")

    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert "  kill -9 of a busy worker" in said
    assert sum("LOCKED" in line for line in said) == 5
    assert "  95 success, 5 failed" in said and "  100 success" in said
    at_once, again = re.findall(r"at once: (\d+) at most|of which (\d+) had reached", done.stdout)
    assert 1 <= int(at_once[0]) <= 20 and int(again[1]) >= 1
    assert said[-1] == "every price was raised once, and the list of all of them is in order"


@pytest.mark.parametrize("arguments", [("0",), ("10001",), ("5", "--kills", "6")])
def test_bad_arguments_give_a_sentence(arguments: tuple[str, ...]) -> None:
    done = example("fan_out", *arguments)

    assert done.returncode == 2
    assert "N must be 1 to 10,000" in done.stderr


MADE = [
    Article("plain", 100, 5),
    Article("busy", 200, 6, (503, 200)),
    Article("locked", 300, 7, (423, 200)),
]


def ledger() -> Ledger:
    """After all went well."""
    found = ledger_before(MADE)
    found.prices = {"plain": 105, "busy": 206, "locked": 307}
    found.statuses = {"plain": [200], "busy": [503, 200], "locked": [423, 200]}
    found.lists = [[("plain", 105), ("busy", 206), ("locked", 307)]]
    return found


def judged(change: Callable[[Ledger], object], *, lost: dict[str, int] | None = None) -> list[str]:
    """What is said of a ledger that is as it should be, but for a change."""
    found = ledger()
    change(found)
    return complaints(MADE, ledger=found, lost=lost or {})


@pytest.mark.parametrize(
    ("seen", "lost"),
    [([423, 200], 0), ([423, 423, 200], 1), ([423, 200, 200], 1), ([423, 423, 200, 200], 2), ([423, 200], 3)],
)
def test_nothing_is_said_where_all_fits(seen: list[int], lost: int) -> None:
    assert judged(lambda ledger: ledger.statuses.update(locked=seen), lost={"locked": lost}) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda ledger: ledger.statuses.pop("plain"), "plain was answered [] and not [200]; 0 answers were lost"),
        (lambda ledger: ledger.statuses.update(plain=[200, 200]), "plain was answered [200, 200] and not [200]"),
        (lambda ledger: ledger.statuses.update(busy=[200]), "busy was answered [200] and not [503, 200]"),
        (lambda ledger: ledger.statuses.update(locked=[423]), "locked was answered [423]"),
        (lambda ledger: ledger.statuses.update(other=[200]), "other: nobody asked for it"),
        (lambda ledger: ledger.prices.update(busy=212), "busy costs 212 cents and not 206"),
        (lambda ledger: ledger.lists.clear(), "0 lists were published"),
        (lambda ledger: ledger.lists.append(ledger.lists[0]), "2 lists were published"),
        (lambda ledger: ledger.lists[0].reverse(), "one that is not all new prices in their order"),
    ],
)
def test_what_does_not_fit_is_seen(change: Callable[[Ledger], object], sentence: str) -> None:
    (said,) = judged(change)

    assert sentence in said


def test_more_repetitions_than_lost_answers_are_seen() -> None:
    assert len(judged(lambda ledger: ledger.statuses.update(plain=[200] * 3), lost={"plain": 1})) == 1


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ({"total": 9, "pending": 4, "running": 2, "success": 3}, 0),
        ({"total": 9, "pending": 3, "running": 3, "success": 3}, 1),
        ({"total": 9, "pending": 4, "running": 2, "success": 2}, 1),
        ({"total": 8, "pending": 4, "running": 2, "success": 3}, 1),
    ],
)
def test_items_that_are_lost_or_too_many_at_once_are_seen(items: dict[str, int], count: int) -> None:
    assert len(items_complaints(items, count=9, max_parallel=2)) == count


def test_the_shop_raises_a_price_once_for_a_key() -> None:
    shop = ledger_before(MADE)

    answers = [shop.answer("/articles/busy/raise", key="k", body={"cents": 6}) for _ in range(3)]

    assert [status for status, _ in answers] == [503, 200, 200]
    assert shop.prices["busy"] == 206
    assert shop.statuses == {"busy": [503, 200, 200]}


def test_a_caller_that_has_died_is_known() -> None:
    mine, other = socket.socketpair()
    with mine:
        before = is_gone(mine)
        other.close()

        assert (before, is_gone(mine)) == (False, True)


def test_a_seed_makes_the_same_articles() -> None:
    first, second = (list(articles(50, dice=random.Random(5))) for _ in range(2))

    assert first == second
    assert sum(each.is_locked for each in first) == 5
    assert [each.sku for each in first] != sorted(each.sku for each in first)
