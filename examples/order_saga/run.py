"""Starts the service and the shop, runs the orders one after the other, and compares the ledgers at the end."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dist_task.client import Client, Transaction
from examples.api import decide, register
from examples.server import running_server, temporary_folder

from . import __doc__ as about
from .flow import definition
from .ledgers import Shop, balances, complaints
from .orders import ORDERS, Order
from .shop import payment, shipping, stock

LOOK_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    orders = chosen(arguments)
    print("starting the service")
    with temporary_folder() as folder, running_server(folder) as server, open_shop(folder) as shop:
        wrong = take(orders, url=server.url, shop=shop)
        wrong += complaints(shop, orders=orders)
        print(f"\nthe ledgers\n{balances(shop)}")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    if not wrong:
        print("every cent, every article and every parcel is where it belongs")
    return 1 if wrong else 0


def chosen(arguments: list[str]) -> Sequence[Order]:
    names = [order.name for order in ORDERS]
    parser = argparse.ArgumentParser("script/example order_saga", description=about)
    parser.add_argument("orders", nargs="*", metavar="ORDER", help=f"some of {', '.join(names)} (default: all)")
    asked = parser.parse_args(arguments).orders or names
    if unknown := set(asked) - set(names):
        parser.error(f"there is no order {', '.join(sorted(unknown))}")
    return [order for order in ORDERS if order.name in asked]


@contextmanager
def open_shop(folder: Path) -> Iterator[Shop]:
    shop = Shop(payment(folder), stock(folder), shipping(folder))
    try:
        yield shop
    finally:
        for endpoint in (shop.payment, shop.stock, shop.shipping):
            endpoint.shutdown()
            endpoint.server_close()


def take(orders: Sequence[Order], *, url: str, shop: Shop) -> list[str]:
    """One after the other; what did not go as it should."""
    flow = definition(payment=shop.payment.url, stock=shop.stock.url, shipping=shop.shipping.url)
    flow_id = register(url, name="order", definition=flow)
    with Client(url) as client:
        return [each for order in orders for each in run(order, client=client, flow_id=flow_id, shop=shop, url=url)]


def run(order: Order, *, client: Client, flow_id: str, shop: Shop, url: str) -> list[str]:
    """What did not go as it should."""
    print(f"\n{order.instance_id}: {order.story}")
    shop.payment.answers_to_lose[order.instance_id] = order.lost_answers
    client.start(order.instance_id, flow_id=flow_id, params=order.params)
    for txn in client.follow(order.instance_id, every_seconds=LOOK_SECONDS):
        if order.decision and task_status(txn, "approve") == "waiting":
            print(f"    a person decides: {order.decision}")
            decide(url, instance_id=order.instance_id, task_id="approve", verb=order.decision, remark="example")
    return report(order, txn=txn, client=client)


def report(order: Order, *, txn: Transaction, client: Client) -> list[str]:
    tasks = ", ".join(f"{task.task_id} {task.status}" for task in txn.tasks)
    print(f"  {txn.status}, compensation {txn.compensation}: {tasks}")
    for record in client.exceptions(instance_id=order.instance_id):
        settled = f"{record.status} by {record.handled_by}" if record.handled else record.status
        print(f"  exception of {record.task}: {record.outcome}, {settled}: {record.error_message}")
    due = ("success", "none") if order.way else ("failed", "done")
    found = (txn.status, txn.compensation)
    return [] if found == due else [f"{order.instance_id} ended as {found} and not as {due}"]


def task_status(txn: Transaction, task_id: str) -> str:
    return next(task.status for task in txn.tasks if task.task_id == task_id)
