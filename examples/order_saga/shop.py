"""The three services: what each does in its ledger. None of them knows of repetitions; the barrier does."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from examples.endpoint import Body, Endpoint, Refused

CUSTOMER_CENTS = 1_000_000
ARTICLES = 100
UNREACHABLE = "Atlantis"


def payment(folder: Path) -> Endpoint:
    """Customers' money goes to the account of the shop."""
    tables = f"""
        CREATE TABLE account (name TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0));
        CREATE TABLE payment (id INTEGER PRIMARY KEY, order_id TEXT, customer TEXT, cents INTEGER, state TEXT);
        INSERT INTO account VALUES ('shop', 0), ('ann', {CUSTOMER_CENTS}), ('bob', {CUSTOMER_CENTS});
    """
    return Endpoint(
        "payment", ledger=folder / "payment.db", tables=tables, paths={"/charge": charge, "/refund": refund}
    )


def charge(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    if not change(ledger, "UPDATE account SET cents = cents - ? WHERE name = ?", body["cents"], body["customer"]):
        raise Refused("NO_ACCOUNT", f"{body['customer']} has no account")
    change(ledger, "UPDATE account SET cents = cents + ? WHERE name = 'shop'", body["cents"])
    made = ledger.execute(
        "INSERT INTO payment (order_id, customer, cents, state) VALUES (?, ?, ?, 'charged')",
        (order, body["customer"], body["cents"]),
    )
    return {"payment": made.lastrowid}


def refund(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    customer, cents = ledger.execute("SELECT customer, cents FROM payment WHERE id = ?", (body["payment"],)).fetchone()
    change(ledger, "UPDATE account SET cents = cents - ? WHERE name = 'shop'", cents)
    change(ledger, "UPDATE account SET cents = cents + ? WHERE name = ?", cents, customer)
    change(ledger, "UPDATE payment SET state = 'refunded' WHERE id = ?", body["payment"])
    return {"refunded": cents}


def stock(folder: Path) -> Endpoint:
    """Articles in the shelf, and those held for orders."""
    tables = f"""
        CREATE TABLE shelf (article TEXT PRIMARY KEY, quantity INTEGER NOT NULL CHECK (quantity >= 0));
        CREATE TABLE hold (id INTEGER PRIMARY KEY, order_id TEXT, article TEXT, quantity INTEGER, state TEXT);
        INSERT INTO shelf VALUES ('tea', {ARTICLES}), ('kettle', {ARTICLES});
    """
    return Endpoint(
        "stock", ledger=folder / "stock.db", tables=tables, paths={"/reserve": reserve, "/release": release}
    )


def reserve(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    article, quantity = body["article"], body["quantity"]
    taken = "UPDATE shelf SET quantity = quantity - ? WHERE article = ? AND quantity >= ?"
    if not change(ledger, taken, quantity, article, quantity):
        raise Refused("SOLD_OUT", f"there are no {quantity} of {article}")
    held = ledger.execute(
        "INSERT INTO hold (order_id, article, quantity, state) VALUES (?, ?, ?, 'held')", (order, article, quantity)
    )
    return {"hold": held.lastrowid}


def release(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    article, quantity = ledger.execute("SELECT article, quantity FROM hold WHERE id = ?", (body["hold"],)).fetchone()
    change(ledger, "UPDATE shelf SET quantity = quantity + ? WHERE article = ?", quantity, article)
    change(ledger, "UPDATE hold SET state = 'released' WHERE id = ?", body["hold"])
    return {"released": quantity}


def shipping(folder: Path) -> Endpoint:
    """Parcels that were handed over."""
    tables = "CREATE TABLE parcel (order_id TEXT PRIMARY KEY, hold INTEGER, town TEXT, way TEXT);"
    paths = {"/post": by_post, "/express": by_express, "/recall": recall}
    return Endpoint("shipping", ledger=folder / "shipping.db", tables=tables, paths=paths)


def by_post(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    return hand_over(ledger, order, body, "post")


def by_express(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    return hand_over(ledger, order, body, "express")


def hand_over(ledger: sqlite3.Connection, order: str, body: Body, way: str) -> dict[str, Any]:
    if body["town"] == UNREACHABLE:
        raise Refused("NO_ROUTE", f"nobody delivers to {UNREACHABLE}")
    ledger.execute("INSERT INTO parcel VALUES (?, ?, ?, ?)", (order, body["hold"], body["town"], way))
    return {"way": way}


def recall(ledger: sqlite3.Connection, order: str, body: Body) -> dict[str, Any]:
    return {"recalled": change(ledger, "DELETE FROM parcel WHERE order_id = ?", order)}


def change(ledger: sqlite3.Connection, sql: str, *values: Any) -> int:
    """The number of changed rows."""
    return ledger.execute(sql, values).rowcount
