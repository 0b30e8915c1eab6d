"""The statuses and their legal moves. docs/states.md draws this table and a test compares the two."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class TransactionStatus(TextChoices):
    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    SUCCESS = "success", _("success")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class CompensationStatus(TextChoices):
    NONE = "none", _("none")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")


class RunStatus(TextChoices):
    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    WAITING = "waiting", _("waiting")
    SUCCESS = "success", _("success")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("skipped")
    CANCELLED = "cancelled", _("cancelled")


class WaitsFor(TextChoices):
    """What ends a wait."""

    TIME = "time", _("a time")
    SERVICE = "service", _("the service, which is asked again")
    CALLBACK = "callback", _("a callback of the service")
    APPROVAL = "approval", _("an approval")
    ITEMS = "items", _("its items")
    CHILD = "child", _("another transaction")


RunKey = tuple[str, int]
"""Names a task run within one direction of a transaction: task id and item."""
WHOLE = -1
"""In place of an item's number: the task as a whole."""


class ExceptionStatus(TextChoices):
    RETRYING = "retrying", _("retrying")
    OPEN = "open", _("needs a person")
    HANDLED = "handled", _("handled")


class Resolution(TextChoices):
    ACKNOWLEDGED = "acknowledged", _("acknowledged")
    FIXED_EXTERNALLY = "fixed_externally", _("fixed externally")
    SKIPPED = "skipped", _("skipped")
    IGNORED = "ignored", _("ignored")
    RERUN = "rerun", _("run again")


class Op(TextChoices):
    ACTION = "action", _("action")
    COMPENSATE = "compensate", _("compensate")


TRANSACTION_MOVES: dict[str, frozenset[str]] = {
    "pending": frozenset({"running", "cancelled"}),
    "running": frozenset({"success", "failed", "cancelled"}),
    "failed": frozenset({"pending", "cancelled"}),
    "success": frozenset(),
    "cancelled": frozenset(),
}
RUN_MOVES: dict[str, frozenset[str]] = {
    "pending": frozenset({"running", "success", "skipped", "cancelled", "failed"}),
    "running": frozenset({"success", "failed", "pending", "waiting"}),
    "waiting": frozenset({"success", "failed", "pending", "running", "cancelled"}),
    "failed": frozenset({"pending", "success", "skipped"}),
    "success": frozenset(),
    "skipped": frozenset(),
    "cancelled": frozenset(),
}
COMPENSATION_MOVES: dict[str, frozenset[str]] = {
    "none": frozenset({"running"}),
    "running": frozenset({"done", "failed"}),
    "failed": frozenset({"running"}),
    "done": frozenset(),
}
EXCEPTION_MOVES: dict[str, frozenset[str]] = {
    "retrying": frozenset({"open", "handled"}),
    "open": frozenset({"retrying", "handled"}),
    "handled": frozenset(),
}

FINAL_TRANSACTION = frozenset({"success", "failed", "cancelled"})
UNFINISHED_TRANSACTION = frozenset(TransactionStatus.values) - FINAL_TRANSACTION
FINAL_RUN = frozenset({"success", "failed", "skipped", "cancelled"})
UNFINISHED_RUN = frozenset(RunStatus.values) - FINAL_RUN
SATISFIED_RUN = frozenset({"success", "skipped"})
ELSEWHERE = frozenset({"service", "callback"})
"""What runs wait for whose work goes on outside, and cannot be called back."""


def sources(moves: dict[str, frozenset[str]], *, to: str) -> tuple[str, ...]:
    """The statuses from which `to` may be reached: the guard of every conditional UPDATE."""
    return tuple(status for status, targets in moves.items() if to in targets)
