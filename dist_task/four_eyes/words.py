"""The words of the four-eyes rule: what may need a second person, and what becomes of a request. Pure."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Act(TextChoices):
    """What the setting may name; `profiles.FOUR_EYES_ACTS` is the same without Django."""

    COMPENSATE = "compensate", _("compensation")
    BATCH = "batch", _("batch")


class RequestStatus(TextChoices):
    """All but the first are final, and are events of the logs as well."""

    AWAITING = "awaiting", _("awaiting a second person")
    APPROVED = "approved", _("approved")
    REJECTED = "rejected", _("rejected")
    WITHDRAWN = "withdrawn", _("withdrawn")
    EXPIRED = "expired", _("expired")
