"""The articles, and what the shop must have seen and done once all prices are raised."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .shop import Ledger

BUSY_PERCENT = 3
MOST_LOCKED = 5


@dataclass(frozen=True, slots=True)
class Article:
    """`cents`: what it costs now. `more`: by how many it is to be raised. `end`: what its calls are answered, at best.

    `end` is [200] for most, [503, 200] where the shop is busy, [423, 200] where the article is locked at first.
    """

    sku: str
    cents: int
    more: int
    end: tuple[int, ...] = (200,)

    @property
    def item(self) -> dict[str, Any]:
        return {"sku": self.sku, "cents": self.more}

    @property
    def new_cents(self) -> int:
        return self.cents + self.more

    @property
    def is_locked(self) -> bool:
        return 423 in self.end


def articles(count: int, *, dice: random.Random) -> Iterator[Article]:
    """In an order that is not that of their names."""
    names = [f"article-{number:05}" for number in range(count)]
    dice.shuffle(names)
    locked = set(dice.sample(names, k=min(MOST_LOCKED, count)))
    for name in names:
        busy = dice.randrange(100) < BUSY_PERCENT
        end = (*([503] if busy else []), *([423] if name in locked else []), 200)
        yield Article(name, dice.randrange(100, 10_000), dice.randrange(1, 100), end)


def ledger_before(made: Sequence[Article]) -> Ledger:
    return Ledger(
        prices={each.sku: each.cents for each in made},
        busy_once={each.sku for each in made if 503 in each.end},
        locked={each.sku for each in made if each.is_locked},
    )


def complaints(made: Sequence[Article], *, ledger: Ledger, lost: Mapping[str, int]) -> list[str]:
    """What the shop has seen or done that it should not have, or not what it should have.

    `lost`: article to how many of its attempts ended without an answer, as the service says. So many calls may have
    come again without having failed, and no others.
    """
    wrong = [f"{sku}: nobody asked for it" for sku in ledger.statuses.keys() - {each.sku for each in made}]
    for each in made:
        wrong += judged(each, seen=ledger.statuses.get(each.sku, []), lost=lost.get(each.sku, 0))
        if ledger.prices[each.sku] != each.new_cents:
            wrong.append(f"{each.sku} costs {ledger.prices[each.sku]} cents and not {each.new_cents}")
    if ledger.lists != [[(each.sku, each.new_cents) for each in made]]:
        wrong.append(f"{len(ledger.lists)} lists were published, or one that is not all new prices in their order")
    return wrong


def judged(article: Article, *, seen: Sequence[int], lost: int) -> list[str]:
    """A call whose answer was lost is answered the same once more."""
    distinct = tuple(status for status, _same in groupby(seen))
    if distinct == article.end and len(seen) - len(distinct) <= lost:
        return []
    return [f"{article.sku} was answered {list(seen)} and not {list(article.end)}; {lost} answers were lost"]


def items_complaints(items: Mapping[str, int], *, count: int, max_parallel: int) -> list[str]:
    """Of the `items` of a task on the wire, at any time."""
    standing = {name: number for name, number in items.items() if name != "total"}
    wrong = []
    if items["total"] != count or sum(standing.values()) != count:
        wrong.append(f"{count} items are {dict(items)}")
    if items["running"] > max_parallel:
        wrong.append(f"{items['running']} items were running at once")
    return wrong
