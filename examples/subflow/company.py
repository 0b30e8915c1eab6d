"""The company's services behind one address, and its journal: a line for all that was done, in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.endpoint import Body, Endpoint, NotYet, Refused

TABLES = "CREATE TABLE journal (number INTEGER PRIMARY KEY, txn TEXT, what TEXT, of TEXT)"


class Company(Endpoint):
    """`closed`: towns that the carrier refuses. `without_van`: towns where no van has been yet.

    `blocked`: customers who get no invoice.
    """

    names_callers = True

    def __init__(self, folder: Path) -> None:
        self.closed: set[str] = set()
        self.without_van: set[str] = set()
        self.blocked: set[str] = set()
        paths = {
            "/charge": self._charge,
            "/book": self._book,
            "/collect": self._collect,
            "/invoice": self._invoice,
            **{f"/{verb}": writer(verb) for verb in ("refund", "unbook", "return", "void")},
        }
        super().__init__("company", ledger=folder / "company.db", tables=TABLES, paths=paths)

    def journal(self) -> list[tuple[str, str, str]]:
        """Transaction, what was done, and of whom or what."""
        return [(txn, what, of) for txn, what, of in self.query("SELECT txn, what, of FROM journal ORDER BY number")]

    def _charge(self, ledger: sqlite3.Connection, txn: str, body: Body) -> dict[str, Any]:
        return {"payment": write(ledger, txn, "charge", of=body["customer"])}

    def _book(self, ledger: sqlite3.Connection, txn: str, body: Body) -> dict[str, Any]:
        if body["town"] in self.closed:
            raise Refused("NO_ROUTE", f"the road to {body['town']} is closed")
        return {"parcel": f"{body['town']}-{write(ledger, txn, 'book', of=body['town'])}"}

    def _collect(self, ledger: sqlite3.Connection, txn: str, body: Body) -> dict[str, Any]:
        town, _number = body["parcel"].split("-")
        if town in self.without_van:
            raise NotYet
        write(ledger, txn, "collect", of=town)
        return {"collected": True}

    def _invoice(self, ledger: sqlite3.Connection, txn: str, body: Body) -> dict[str, Any]:
        """Names the towns in the order in which they come: the output of the subflows."""
        if body["customer"] in self.blocked:
            raise Refused("NO_TAX_NUMBER", f"{body['customer']} has no tax number")
        parcels = [each["tasks"]["book"]["body"]["parcel"] for each in body["shipped"]]
        towns = ", ".join(parcel.split("-")[0] for parcel in parcels)
        return {"invoice": write(ledger, txn, "invoice", of=towns), "parcels": parcels}


def writer(what: str) -> Any:
    """The work of a compensation: a line."""

    def work(ledger: sqlite3.Connection, txn: str, _body: Body) -> dict[str, Any]:
        return {what: write(ledger, txn, what, of="")}

    return work


def write(ledger: sqlite3.Connection, txn: str, what: str, *, of: str) -> int:
    """The number of the line."""
    made = ledger.execute("INSERT INTO journal (txn, what, of) VALUES (?, ?, ?)", (txn, what, of))
    return made.lastrowid or 0


@contextmanager
def open_company(folder: Path) -> Iterator[Company]:
    company = Company(folder)
    try:
        yield company
    finally:
        company.shutdown()
        company.server_close()
