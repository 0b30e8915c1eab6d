"""Starts the service and the shop, raises the prices, kills a worker, unlocks, retries, and compares at the end."""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dist_task.client import Client
from examples.api import logs, register, transaction
from examples.kills import Kills
from examples.postgres import Postgres
from examples.server import running_server, temporary_folder

from . import __doc__ as about
from .articles import Article, articles, complaints, items_complaints, ledger_before
from .flow import MAX_PARALLEL, definition
from .shop import Shop, opened

FINAL = ("success", "failed", "cancelled")
INSTANCE_ID = "price-update"
LOOK_SECONDS = 0.3
END_SECONDS = 300.0
MOST_KILLS = 5


@dataclass(slots=True)
class Update:
    """One transaction, and what goes wrong with it."""

    url: str
    client: Client
    shop: Shop
    made: Sequence[Article]
    kills: Kills
    wrong: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    dice = random.Random(options.seed)
    made = list(articles(options.articles, dice=dice))
    stops = [options.articles * (number + 1) // (options.kills + 1) for number in range(options.kills)]
    print("starting the service and the shop")
    shop = Shop(ledger_before(made), stops=stops)
    with temporary_folder() as folder, running_server(folder) as server, opened(shop):
        kills = Kills(Postgres(server.data), dice=dice, victims=("busy worker",))
        with Client(server.url) as client:
            update = Update(server.url, client, shop, made, kills)
            run(update)
            report(update)
    return 1 if update.wrong else 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("script/example fan_out", description=about)
    parser.add_argument("articles", nargs="?", type=int, default=1_000, metavar="N", help="how many (default 1000)")
    parser.add_argument("--kills", type=int, default=1, help="how often a worker is killed (default 1, at most 5)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same articles (default 1)")
    options = parser.parse_args(arguments)
    if not 1 <= options.articles <= 10_000 or not 0 <= options.kills <= MOST_KILLS:
        parser.error(f"N must be 1 to 10,000, and there are 0 to {MOST_KILLS} kills")
    return options


def run(update: Update) -> None:
    """All prices but those of locked articles, and these after they were unlocked."""
    flow_id = register(update.url, name="price_update", definition=definition(update.shop.url))
    locked = [each.sku for each in update.made if each.is_locked]
    print(f"{len(update.made):,} prices are to be raised, {MAX_PARALLEL} at once; {len(locked)} articles are locked")
    began = time.monotonic()
    update.client.start(INSTANCE_ID, flow_id=flow_id, params={"articles": [each.item for each in update.made]})
    watch(update, due="failed")
    print(f"  failed after {time.monotonic() - began:.1f} s")
    look_at_failures(update, locked=locked)
    mend(update)
    began = time.monotonic()
    update.client.retry(INSTANCE_ID, remark="the articles are unlocked")
    watch(update, due="success")
    print(f"  success {time.monotonic() - began:.1f} s after the retry")


def watch(update: Update, *, due: str) -> None:
    """Until it has ended, which is `due`; kills on the way."""
    ends_at, said = time.monotonic() + END_SECONDS, ""
    while True:
        txn = transaction(update.url, INSTANCE_ID)
        said = look_at_items(update, items=txn["tasks"][0].get("items"), said=said)
        if txn["status"] in FINAL or time.monotonic() > ends_at:
            break
        strike(update)
        time.sleep(LOOK_SECONDS)
    if txn["status"] != due:
        update.wrong.append(f"the transaction is {txn['status']} and not {due}")


def look_at_items(update: Update, *, items: Mapping[str, int] | None, said: str) -> str:
    """How they stand, shown where it is not what was `said`. There are none before the list is made."""
    if not items:
        return said
    update.wrong += items_complaints(items, count=len(update.made), max_parallel=MAX_PARALLEL)
    line = ", ".join(f"{number:,} {name}" for name, number in items.items() if number and name != "total")
    if line != said:
        print(f"  {line}")
    return line


def strike(update: Update) -> None:
    """In the middle of calls: the shop carries them out when it goes on, and nobody is there to take the answers."""
    if update.shop.stands_still:
        print(f"  kill -9 of a {update.kills.strike()}")
        update.shop.go_on()


def look_at_failures(update: Update, *, locked: Sequence[str]) -> None:
    """What is left for a person is the locked articles, and nothing is published."""
    records = list(update.client.exceptions(instance_id=INSTANCE_ID, handled=False))
    for record in records:
        print(f"  exception of item {record.item}: {record.error_code}, {record.error_message}")
    found = {update.made[record.item].sku for record in records}
    if found != set(locked) or len(records) != len(found):
        update.wrong.append(f"left for a person are {sorted(found)} and not {sorted(locked)}")
    if update.shop.ledger.lists:
        update.wrong.append("a list was published although prices were missing")


def mend(update: Update) -> None:
    with update.shop.lock:
        update.shop.ledger.locked.clear()
    print("the shop unlocks the articles; an operator retries the transaction")


def report(update: Update) -> None:
    """Prints the figures, and what the ledger says against them."""
    ledger, lost = update.shop.ledger, lost_attempts(update)
    update.wrong += complaints(update.made, ledger=ledger, lost=lost)
    left = update.client.exceptions(instance_id=INSTANCE_ID, handled=False)
    update.wrong += [f"left for a person: {record.error_message}" for record in left]
    if update.shop.most_at_once > MAX_PARALLEL:
        update.wrong.append(f"{update.shop.most_at_once} calls were in flight at once")
    calls = [status for statuses in ledger.statuses.values() for status in statuses]
    again = len(calls) - sum(len(each.end) for each in update.made)
    print(f"calls: {len(calls):,}, of which {calls.count(503)} were answered 503 and {calls.count(423)} refused")
    print(f"in flight at once: {update.shop.most_at_once} at most; killed: {update.kills.done.total()}")
    print(f"attempts whose end nobody knew: {lost.total()}, of which {again} had reached the shop and came again")
    for sentence in update.wrong:
        print(f"WRONG: {sentence}")
    if not update.wrong:
        print("every price was raised once, and the list of all of them is in order")


def lost_attempts(update: Update) -> Counter[str]:
    """By article: those that ended without an answer, such as by the death of their worker."""
    entries = logs(update.url, INSTANCE_ID)
    unknown = [
        entry for entry in entries if entry["event"] in ("worker_lost", "unknown") and entry["task_id"] == "raise"
    ]
    return Counter(update.made[entry["item"]].sku for entry in unknown)
