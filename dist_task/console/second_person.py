"""What the console says everywhere of what awaits a second person. Where the four-eyes rule is off it asks nothing."""

from __future__ import annotations

from typing import Any

from dist_task.conf import conf
from dist_task.console.display import capped
from dist_task.four_eyes.rights import awaiting_decision_of, may_decide_some

MOST_SHOWN = 99


def awaits_you(user: Any) -> str:
    """How many requests this person may decide, "" for none and for who decides none."""
    if not conf.FOUR_EYES or not may_decide_some(user):
        return ""
    known = getattr(user, "_awaits_you", None)  # asked more than once in a request, whose user this is
    if known is None:
        count = awaiting_decision_of(user).order_by()[: MOST_SHOWN + 1].count()
        known = user._awaits_you = capped(count, cap=MOST_SHOWN) if count else ""
    return str(known)
