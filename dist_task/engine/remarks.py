"""What people write about what they do: kept in logs, so it has a longest length, and some verbs need it."""

from __future__ import annotations

from django.utils.translation import gettext as _

from dist_task.errors import InvalidRequest

LONGEST_REMARK = 2_000


def checked_remark(remark: str) -> str:
    """InvalidRequest where it is too long."""
    if len(remark) > LONGEST_REMARK:
        raise InvalidRequest(_("remark must have at most %(most)d characters") % {"most": LONGEST_REMARK})
    return remark


def checked_reason(remark: str) -> str:
    """Of a verb that needs one."""
    if not remark.strip():
        raise InvalidRequest(_("say why, as the remark"))
    return checked_remark(remark)
