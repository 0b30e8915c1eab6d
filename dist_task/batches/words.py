"""The words of batches: what they are about, their states and those of their items. Pure."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Target(TextChoices):
    EXCEPTIONS = "exceptions", _("exceptions")
    TRANSACTIONS = "transactions", _("transactions")


class BatchStatus(TextChoices):
    """`awaiting`: somebody has asked for it, and a second person has to approve it (the four-eyes rule)."""

    AWAITING = "awaiting", _("awaiting a second person")
    RUNNING = "running", _("running")
    PAUSED = "paused", _("paused")
    CANCELLED = "cancelled", _("cancelled")
    DONE = "done", _("done")


class ItemStatus(TextChoices):
    """`refused`: the verb said no. `failed`: the service itself could not do it, see its log."""

    PENDING = "pending", _("pending")
    DONE = "done", _("done")
    REFUSED = "refused", _("refused")
    FAILED = "failed", _("failed")


class BatchEvent(TextChoices):
    """The middle ones are of batches that a second person has to approve."""

    CREATED = "created", _("created")
    REQUESTED = "requested", _("asked for")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    WITHDRAWN = "withdrawn", _("withdrawn")
    EXPIRED = "expired", _("expired")
    PAUSED = "paused", _("paused")
    RESUMED = "resumed", _("resumed")
    CANCELLED = "cancelled", _("cancelled")


BATCH_MOVES: dict[str, frozenset[str]] = {
    "awaiting": frozenset({"running", "cancelled"}),
    "running": frozenset({"paused", "cancelled", "done"}),
    "paused": frozenset({"running", "cancelled"}),
    "cancelled": frozenset(),
    "done": frozenset(),
}
FINAL_BATCH = frozenset({"cancelled", "done"})
