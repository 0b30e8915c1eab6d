"""Why is it not moving? One sentence about a transaction, from facts that were read before. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dist_task.console.display import span


@dataclass(frozen=True, slots=True)
class Retry:
    """Attempts so far, and the number of the last one that is made by itself."""

    attempts: int
    most: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What the sentence depends on; the times are the database's."""

    now: datetime
    status: str
    compensation: str = "none"
    cancelling: bool = False
    paused: bool = False
    wake_at: datetime | None = None
    owner: int | None = None
    owner_name: str = ""
    owner_lease_until: datetime | None = None
    running: tuple[str, ...] = ()  # task ids
    waiting: dict[str, str] = field(default_factory=dict)  # task id -> what for, in words
    to_retry: dict[str, Retry] = field(default_factory=dict)
    open_exceptions: int = 0
    live_workers: int = 0
    idle_workers: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    kind: str  # "final", "person", "held", "orphaned", "due", "nobody", "later", "waiting", "limbo"
    sentence: str


def why(standing: Standing) -> Reason:
    is_undoing = standing.compensation == "running"
    if standing.status in ("success", "cancelled") and standing.compensation in ("none", "done"):
        return Reason("final", _("It has ended; there is nothing left to do."))
    if standing.owner is not None:
        return _held(standing)
    if standing.paused:
        return Reason("person", _("It is paused: nothing of it begins until somebody resumes it."))
    if standing.wake_at is not None and (standing.status != "failed" or is_undoing):
        return _scheduled(standing, wake_at=standing.wake_at)
    if standing.waiting:
        return Reason("waiting", _("It waits: %(tasks)s.") % {"tasks": _named_waits(standing)})
    if standing.compensation == "failed":
        text = _("Undoing it failed, so it is half undone. Retry the exception of the compensation, or undo by hand.")
        return Reason("person", text)
    if standing.open_exceptions:
        return _needs_person(standing)
    if standing.compensation == "done":
        return Reason("final", _("It has failed, and what it had done is undone; there is nothing left to do."))
    if standing.status == "failed":
        return Reason("final", _("It has failed and no exception is open; retry it, or leave it as it is."))
    return Reason("limbo", _("Nothing will wake it and no exception is open. Retry or cancel it, and report this."))


def _named_waits(standing: Standing) -> str:
    text = _("%(task)s for %(what)s")
    return "; ".join(text % {"task": task_id, "what": what} for task_id, what in standing.waiting.items())


def _needs_person(standing: Standing) -> Reason:
    count = standing.open_exceptions
    text = ngettext("%(n)d exception needs a person.", "%(n)d exceptions need a person.", count)
    return Reason("person", text % {"n": count})


def _held(standing: Standing) -> Reason:
    lease = standing.owner_lease_until
    who = standing.owner_name or f"#{standing.owner}"
    if lease is None or lease <= standing.now:
        text = _("Worker %(worker)s held it and its lease has run out; another one takes it over soon.")
        return Reason("orphaned", text % {"worker": who})
    if standing.cancelling:
        return Reason("held", _("It is being cancelled: the attempts in flight have to end first."))
    if standing.running:
        text = _("Worker %(worker)s holds it and runs: %(tasks)s.")
        return Reason("held", text % {"worker": who, "tasks": ", ".join(standing.running)})
    return Reason("held", _("Worker %(worker)s holds it.") % {"worker": who})


def _scheduled(standing: Standing, *, wake_at: datetime) -> Reason:
    if wake_at > standing.now:
        return _later(standing, wait=span(wake_at - standing.now))
    late = span(standing.now - wake_at)
    if not standing.live_workers:
        text = _("Due for %(time)s, but nobody works: there is no live worker. Start a cluster.")
        return Reason("nobody", text % {"time": late})
    if not standing.idle_workers:
        return _all_busy(late, count=standing.live_workers)
    text = ngettext(
        "Due for %(time)s; it waits for the one live worker.",
        "Due for %(time)s; it waits for one of %(n)d live workers.",
        standing.live_workers,
    )
    return Reason("due", text % {"time": late, "n": standing.live_workers})


def _all_busy(late: str, *, count: int) -> Reason:
    text = ngettext(
        "Due for %(time)s; the one live worker is busy, and its slots may be full.",
        "Due for %(time)s; all %(n)d live workers are busy, and their slots may be full.",
        count,
    )
    return Reason("due", text % {"time": late, "n": count})


def _later(standing: Standing, *, wait: str) -> Reason:
    if standing.waiting and not standing.to_retry:
        text = _("It waits, %(time)s at most: %(tasks)s.")
        return Reason("waiting", text % {"time": wait, "tasks": _named_waits(standing)})
    if not standing.to_retry:
        return Reason("later", _("Due in %(time)s.") % {"time": wait})
    text = _("Due in %(time)s, to try again: %(tasks)s.")
    tasks = "; ".join(_after(task_id, retry=retry) for task_id, retry in standing.to_retry.items())
    return Reason("later", text % {"time": wait, "tasks": tasks})


def _after(task_id: str, *, retry: Retry) -> str:
    """A retry that a person asked for may be beyond the last one that is made by itself."""
    if retry.most <= retry.attempts:
        return _("%(task)s after attempt %(n)d") % {"task": task_id, "n": retry.attempts}
    text = _("%(task)s after attempt %(n)d of %(most)d")
    return text % {"task": task_id, "n": retry.attempts, "most": retry.most}
