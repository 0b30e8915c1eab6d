"""The first page: what goes on, what stands still, what fails. Each number leads to the list with the same filter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.db.models import Count, Q
from django.db.models.expressions import RawSQL
from django.utils import timezone
from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.console.display import capped, list_url, span
from dist_task.console.firing import alerts
from dist_task.console.live import needs_person
from dist_task.console.second_person import awaits_you
from dist_task.console.standing import Surroundings, explain_all, surroundings
from dist_task.console.standstill import Reason
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.rights import may_decide_some
from dist_task.models import Worker
from dist_task.states import ExceptionStatus
from exceptions_app.groups import groups
from exceptions_app.models import ExceptionRecord
from stats.queries import overview
from stats.recent import Hour, by_hour, durations
from transactions.models import Transaction

MOST_COUNTED = 10_000
MOST_GROUPS, MOST_STANDING = 8, 8
PULSE = """
    SELECT clock_timestamp(), (SELECT min(wake_at) FROM transactions_transaction WHERE owner IS NULL AND wake_at <= clock_timestamp()),
        (SELECT count(*) FROM (SELECT FROM transactions_transaction
            WHERE owner IS NULL AND wake_at <= clock_timestamp() LIMIT %(most)s) AS due),
        (SELECT count(*) FROM (SELECT FROM transactions_transaction WHERE status = 'pending' LIMIT %(most)s) AS pending),
        (SELECT count(*) FROM (SELECT FROM transactions_transaction WHERE status = 'running' LIMIT %(most)s) AS running)
"""  # noqa: E501  # one statement, one snapshot
# The longest overdue, those of dead workers, and the oldest of each unfinished status: each by its own partial index.
STANDING = """
    (SELECT id FROM transactions_transaction
     WHERE owner IS NULL AND wake_at < clock_timestamp() - interval '60 seconds' ORDER BY wake_at LIMIT 4)
    UNION (SELECT t.id FROM transactions_transaction t JOIN dist_task_worker w ON w.id = t.owner
           WHERE t.owner IS NOT NULL AND w.lease_until < clock_timestamp() LIMIT 2)
    UNION (SELECT id FROM transactions_transaction WHERE status = 'pending' ORDER BY id LIMIT 2)
    UNION (SELECT id FROM transactions_transaction WHERE status = 'running' ORDER BY id LIMIT 4)
"""
PATIENCE = timedelta(seconds=60)
HEIGHT, WIDTH = 90, 100 / 24


@dataclass(frozen=True, slots=True)
class Tile:
    state: str
    name: str
    value: str
    url: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """An hour of the chart, from the ground up, in per cent and pixels."""

    x: float
    width: float
    bars: tuple[tuple[str, int, int], ...]  # state, y, height
    label: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Pulse:
    now: datetime
    oldest_due: datetime | None
    due: int
    pending: int
    running: int


def dashboard(user: User | AnonymousUser) -> dict[str, Any]:
    """As far as this person may see it."""
    found: dict[str, Any] = {"tiles": [], "may_see_exceptions": False, "may_see_transactions": False}
    if user.has_perm("alerts.view_alertrule"):
        found["alerts"] = alerts()
    if user.has_perm("exceptions_app.view_exceptionrecord"):
        found |= {"may_see_exceptions": True, "groups": groups(most=MOST_GROUPS)}
        found["tiles"].append(_needs_person_tile(needs_person(user) or "0"))
    found["tiles"] += _awaits_you_tiles(user)
    standing = list(_standing()) if user.has_perm("transactions.view_transaction") else []
    around = surroundings(txn.owner for txn in standing)
    if user.has_perm("transactions.view_transaction"):
        pulse = _pulse()
        hours = by_hour(now=pulse.now)
        found |= {
            "may_see_transactions": True,
            "pulse": pulse,
            "columns": _columns(hours),
            "standing": _why(standing, around=around),
        }
        found["most_per_hour"] = max(hour.total for hour in hours)
        found["tiles"] += [*_unfinished_tiles(pulse), *_finished_tiles(), *_duration_tiles(), _due_tile(pulse)]
    if user.has_perm("dist_task.view_worker"):
        found |= {"clusters": around.clusters, "may_see_workers": True}
        found["tiles"].append(_workers_tile(around))
    return found


def workers_page() -> dict[str, Any]:
    """What the list of workers begins with."""
    around, pulse = surroundings(), _pulse()
    held = Transaction.objects.filter(owner__isnull=False).order_by()[: MOST_COUNTED + 1].count()
    return {
        "clusters": around.clusters,
        "due": capped(pulse.due, cap=MOST_COUNTED),
        "oldest_due": span(pulse.now - pulse.oldest_due) if pulse.oldest_due else "",
        "held": capped(held, cap=MOST_COUNTED),
    }


def _pulse() -> Pulse:
    with connection.cursor() as cursor:
        cursor.execute(PULSE, {"most": MOST_COUNTED + 1})
        now, oldest, *counts = cursor.fetchone()
    return Pulse(now, oldest, *counts)


def _needs_person_tile(count: str) -> Tile:
    return Tile("open" if count != "0" else "success", _("Need a person"), count, list_url(ExceptionRecord))


def _awaits_you_tiles(user: User | AnonymousUser) -> list[Tile]:
    """None where nobody asks a second person, and for who is none."""
    if not conf.FOUR_EYES or not may_decide_some(user):
        return []
    count = awaits_you(user) or "0"
    return [
        Tile(
            "waiting" if count != "0" else "success",
            _("Await your approval"),
            count,
            list_url(ApprovalRequest, query=urlencode({"status": "yours"})),
        )
    ]


def _unfinished_tiles(pulse: Pulse) -> list[Tile]:
    counts = (("pending", _("Pending"), pulse.pending), ("running", _("Running"), pulse.running))
    return [Tile(status, name, capped(count, cap=MOST_COUNTED), _of(status=status)) for status, name, count in counts]


def _finished_tiles() -> list[Tile]:
    """From the counters: counting the rows of history is what they are there to spare."""
    totals = overview().totals
    counts = (
        ("success", _("Succeeded"), totals.succeeded),
        ("failed", _("Failed"), totals.failed),
        ("cancelled", _("Cancelled"), totals.cancelled),
    )
    return [Tile(status, name, f"{count:,}", _of(status=status)) for status, name, count in counts]


def _duration_tiles() -> list[Tile]:
    found, note = durations(), _("of the newest 2,000")
    return [
        Tile("calm", _("Half end within"), span(found.median), _of(status="success"), note),
        Tile("calm", _("95 in 100 end within"), span(found.p95), _of(status="success"), note),
    ]


def _due_tile(pulse: Pulse) -> Tile:
    note = _("oldest for %(time)s") % {"time": span(pulse.now - pulse.oldest_due)} if pulse.oldest_due else ""
    return Tile("waiting", _("Due now"), capped(pulse.due, cap=MOST_COUNTED), _of(moving="due"), note)


def _workers_tile(around: Surroundings) -> Tile:
    live = len(around.living)
    note = "" if live else _("nobody works")
    return Tile("success" if live else "failed", _("Live workers"), str(live), list_url(Worker), note)


def _of(**query: str) -> str:
    return list_url(Transaction, query=urlencode(query))


def _standing() -> Any:
    is_open = Q(exceptions__status=ExceptionStatus.OPEN)
    rows = Transaction.objects.filter(pk__in=RawSQL(STANDING, ())).select_related("flow").order_by("created_at")  # noqa: S611  # a constant
    heavy = ("params", "flow__definition", "flow__task_definitions", "flow__description")
    return rows.defer(*heavy).annotate(open_exceptions=Count("exceptions", filter=is_open))


def _why(standing: list[Any], *, around: Surroundings) -> list[tuple[Any, Reason, str]]:
    """Those that have gone on for longer than a minute, or are overdue; what a live worker does right now is well."""
    patient = [txn for txn in standing if around.now - txn.created_at > PATIENCE]
    found = [(txn, reason, span(around.now - txn.created_at)) for txn, reason in explain_all(patient, around=around)]
    return [each for each in found if each[1].kind != "held"][:MOST_STANDING]


def _columns(hours: list[Hour]) -> list[Column]:
    most = max((hour.total for hour in hours), default=0) or 1
    return [_column(hour, number=number, most=most) for number, hour in enumerate(hours)]


def _column(hour: Hour, *, number: int, most: int) -> Column:
    bars, ground = [], HEIGHT
    for state, count in (("success", hour.succeeded), ("cancelled", hour.cancelled), ("failed", hour.failed)):
        if count:
            height = max(2, round(HEIGHT * count / most))
            ground -= height
            bars.append((state, max(0, ground), height))
    start = timezone.localtime(hour.start)
    title = _("%(hour)s: %(good)d succeeded, %(bad)d failed, %(cancelled)d cancelled") % {
        "hour": f"{start:%H:%M}",
        "good": hour.succeeded,
        "bad": hour.failed,
        "cancelled": hour.cancelled,
    }
    until = timezone.localtime(hour.start + timedelta(hours=1))
    url = _of(created_after=f"{start:%Y-%m-%dT%H:%M}", created_before=f"{until:%Y-%m-%dT%H:%M}")
    label = f"{start:%H}" if number % 3 == 2 else ""
    return Column(round(number * WIDTH, 3), round(WIDTH * 0.82, 3), tuple(bars), label, title, url)
