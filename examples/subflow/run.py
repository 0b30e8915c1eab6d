"""Starts the service and the company, takes the orders one after the other, and compares the journal at the end."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dist_task.client import Client
from examples.api import post, register
from examples.server import running_server, temporary_folder

from . import __doc__ as about
from .company import Company, open_company
from .flow import SHIP, order, ship_parcel
from .orders import ORDERS, Order, complaints
from .tree import Tree, disagreements, lines, tree

LOOK_SECONDS = 0.1
END_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    url: str
    client: Client
    company: Company

    def act(self, instance_id: str, verb: str, *, remark: str) -> None:
        """What a person does over the API: retry, cancel, compensate."""
        print(f"    a person: {verb} {instance_id}, {remark}")
        post(f"{self.url}/api/v1/transactions/{instance_id}/{verb}", body={"remark": remark})


def main(arguments: list[str]) -> int:
    orders = chosen(arguments)
    print("starting the service and the company")
    with temporary_folder() as folder, running_server(folder) as server, open_company(folder) as company:
        with Client(server.url) as client:
            stage = Stage(server.url, client, company)
            register(server.url, name=SHIP, definition=ship_parcel(company.url))
            wrong = [each for order in orders for each in take(order, stage=stage)]
        wrong += complaints(orders, journal=company.journal())
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if not wrong:
        print("\nevery parcel went the way of its order, and the money too")
    return 1 if wrong else 0


def chosen(arguments: list[str]) -> Sequence[Order]:
    names = [order.name for order in ORDERS]
    parser = argparse.ArgumentParser("script/example subflow", description=about)
    parser.add_argument("orders", nargs="*", metavar="ORDER", help=f"some of {', '.join(names)} (default: all)")
    asked = parser.parse_args(arguments).orders or names
    if unknown := set(asked) - set(names):
        parser.error(f"there is no order {', '.join(sorted(unknown))}")
    return [order for order in ORDERS if order.name in asked]


def take(each: Order, *, stage: Stage) -> list[str]:
    """What did not go as it should."""
    print(f"\n{each.instance_id}: {each.story}")
    definition = order(stage.company.url, on_failure=each.on_failure)
    flow_id = register(stage.url, name=f"order_{each.on_failure}", definition=definition)
    tell = {"repaired": repaired, "undone": undone, "cancelled": cancelled}[each.name]
    return tell(each, flow_id=flow_id, stage=stage) + left_over(each, stage=stage)


def repaired(each: Order, *, flow_id: str, stage: Stage) -> list[str]:
    """The second parcel is refused; who repairs it need not know of the order above."""
    stage.company.closed.add(each.towns[1])
    stage.client.start(each.instance_id, flow_id=flow_id, params=each.params)
    wrong = rest(each, stage=stage, ends=["failed", "success", "failed", "success"])
    for name in (each.instance_id, f"{each.instance_id}.ship:1"):
        for record in stage.client.exceptions(instance_id=name, handled=False):
            print(f"    exception of {record.task} in {name}: {record.error_code}, {record.error_message}")
    stage.company.closed.clear()
    stage.act(f"{each.instance_id}.ship:1", "retry", remark="the road is open again")
    return wrong + rest(each, stage=stage, ends=["success"] * 4)


def undone(each: Order, *, flow_id: str, stage: Stage) -> list[str]:
    stage.company.blocked.add(each.customer)
    stage.client.start(each.instance_id, flow_id=flow_id, params=each.params)
    return rest(each, stage=stage, ends=["failed", *["success"] * 3], compensations=["done"] * 4)


def cancelled(each: Order, *, flow_id: str, stage: Stage) -> list[str]:
    """The first parcel is under way by then; it stays so until a person undoes the whole."""
    stage.company.without_van.update(each.towns[1:])
    stage.client.start(each.instance_id, flow_id=flow_id, params=each.params)
    found = until(each, stage=stage, holds=two_wait_for_the_van)
    wrong = [] if two_wait_for_the_van(found) else [f"{each.instance_id}: no two parcels wait for the van"]
    stage.act(each.instance_id, "cancel", remark="the customer has changed her mind")
    ends = ["cancelled", "success", "cancelled", "cancelled"]
    wrong += rest(each, stage=stage, ends=ends)
    stage.act(each.instance_id, "compensate", remark="she wants her money back")
    return wrong + rest(each, stage=stage, ends=ends, compensations=["done"] * 4)


def two_wait_for_the_van(found: Tree) -> bool:
    waiting = [task for child in found.children for task in child["tasks"] if task["status"] == "waiting"]
    return [task["task_id"] for task in waiting] == ["collect", "collect"] and found.ends.count("success") == 1


def rest(each: Order, *, stage: Stage, ends: list[str], compensations: list[str] | None = None) -> list[str]:
    """Waits until the order and its parcels stand as is due, shows them, and says what is wrong with them."""
    due = (ends, compensations or ["none"] * 4)
    found = until(each, stage=stage, holds=lambda tree: (tree.ends, tree.compensations) == due)
    for line in lines(found):
        print(f"  {line}")
    wrong = disagreements(found, parcels=len(each.towns))
    if (found.ends, found.compensations) != due:
        wrong.append(f"{each.instance_id} and its parcels are {found.ends}, {found.compensations} and not {due}")
    return wrong


def until(each: Order, *, stage: Stage, holds: Callable[[Tree], bool]) -> Tree:
    """The tree as soon as this holds, or as it is when the time is over."""
    ends_at = time.monotonic() + END_SECONDS
    while not holds(found := tree(stage.url, each.instance_id)) and time.monotonic() < ends_at:
        time.sleep(LOOK_SECONDS)
    return found


def left_over(each: Order, *, stage: Stage) -> list[str]:
    """At the end nothing is left for a person, in the order or in its parcels."""
    names = [each.instance_id, *(f"{each.instance_id}.ship:{number}" for number in range(len(each.towns)))]
    records = [record for name in names for record in stage.client.exceptions(instance_id=name, handled=False)]
    return [f"left for a person in {record.instance_id}: {record.error_message}" for record in records]
