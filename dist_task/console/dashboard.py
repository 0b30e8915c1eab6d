"""The first page in numbers; each one leads to the list with the same filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Min
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from dist_task.console.display import ago, capped, list_url
from dist_task.models import Worker
from exceptions_app.models import ExceptionRecord
from stats.queries import overview
from transactions.models import Transaction

MOST_COUNTED = 10_000
LATEST = 10


@dataclass(frozen=True, slots=True)
class Tile:
    state: str
    name: str
    value: str
    url: str
    note: str = ""


def dashboard(user: User | AnonymousUser) -> dict[str, Any]:
    """Tiles and the newest exceptions, as far as this person may see them."""
    found: dict[str, Any] = {"tiles": [], "exceptions": []}
    if user.has_perm("exceptions_app.view_exceptionrecord"):
        open_ones = ExceptionRecord.objects.needing_a_person()
        found["tiles"].append(_needs_person_tile(open_ones))
        found["exceptions"] = open_ones.select_related("transaction", "flow")[:LATEST]
    if user.has_perm("transactions.view_transaction"):
        found["tiles"] += [*_unfinished_tiles(), *_finished_tiles(), _due_tile()]
    if user.has_perm("dist_task.view_worker"):
        found["tiles"].append(_workers_tile())
    return found


def _needs_person_tile(open_ones: Any) -> Tile:
    count = _count(open_ones)
    return Tile("open" if count != "0" else "success", _("Need a person"), count, list_url(ExceptionRecord))


def _unfinished_tiles() -> list[Tile]:
    return [
        Tile(status, name, _count(Transaction.objects.filter(status=status)), _of_status(status))
        for status, name in (("pending", _("Pending")), ("running", _("Running")))
    ]


def _finished_tiles() -> list[Tile]:
    """From the counters: counting the rows of history is what they are there to spare."""
    totals = overview().totals
    counts = (
        ("success", _("Succeeded"), totals.succeeded),
        ("failed", _("Failed"), totals.failed),
        ("cancelled", _("Cancelled"), totals.cancelled),
    )
    return [Tile(status, name, str(count), _of_status(status)) for status, name, count in counts]


def _due_tile() -> Tile:
    due = Transaction.objects.due()
    oldest = due.aggregate(oldest=Min("wake_at"))["oldest"]
    note = _("oldest for %(time)s") % {"time": ago(oldest)} if oldest else ""
    return Tile("waiting", _("Due now"), _count(due), list_url(Transaction, query="moving=due"), note)


def _workers_tile() -> Tile:
    live = _count(Worker.objects.filter(lease_until__gt=Now()))
    note = "" if live != "0" else _("nobody works")
    return Tile("failed" if live == "0" else "success", _("Live workers"), live, list_url(Worker), note)


def _of_status(status: str) -> str:
    return list_url(Transaction, query=f"status__exact={status}")


def _count(rows: Any) -> str:
    return capped(rows.order_by()[: MOST_COUNTED + 1].count(), cap=MOST_COUNTED)
