"""The three ledgers against the orders: one sentence for whatever does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from examples.endpoint import Endpoint

from .orders import Order
from .shop import ARTICLES, CUSTOMER_CENTS


@dataclass(frozen=True, slots=True)
class Shop:
    payment: Endpoint
    stock: Endpoint
    shipping: Endpoint


def complaints(shop: Shop, *, orders: Sequence[Order]) -> list[str]:
    """Of orders that have all ended. Only shipped ones may have left a trace in money and goods."""
    shipped = [order for order in orders if order.way]
    spent, gone = Counter[str](), Counter[str]()
    for order in shipped:
        spent[order.customer] += order.cents
        gone[order.article] += order.quantity
    money = {"shop": spent.total(), **{name: CUSTOMER_CENTS - spent[name] for name in ("ann", "bob")}}
    goods = {name: ARTICLES - gone[name] for name in ("tea", "kettle")}
    parcels = {order.instance_id: order.way for order in shipped}
    return [
        *differences("cents of", found=shop.payment.query("SELECT name, cents FROM account"), due=money),
        *differences("pieces of", found=shop.stock.query("SELECT article, quantity FROM shelf"), due=goods),
        *differences("parcel of", found=shop.shipping.query("SELECT order_id, way FROM parcel"), due=parcels),
    ]


def differences(what: str, *, found: Sequence[tuple[Any, ...]], due: Mapping[str, object]) -> list[str]:
    is_there = dict(found)
    names = sorted(is_there.keys() | due.keys())
    return [
        f"{what} {name}: {is_there.get(name)} instead of {due.get(name)}"
        for name in names
        if is_there.get(name) != due.get(name)
    ]


def balances(shop: Shop) -> str:
    money = ", ".join(f"{name} {cents / 100:,.2f}" for name, cents in shop.payment.query("SELECT * FROM account"))
    goods = ", ".join(f"{name} {count}" for name, count in shop.stock.query("SELECT * FROM shelf"))
    parcels = ", ".join(f"{order} by {way}" for order, way in shop.shipping.query("SELECT order_id, way FROM parcel"))
    return f"money: {money}\ngoods: {goods}\nparcels: {parcels or 'none'}"
