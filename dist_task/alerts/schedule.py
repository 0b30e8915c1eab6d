"""When a delivery that failed is tried again, and when a rule fires and ends. Pure."""

from __future__ import annotations

from enum import Enum

from .words import RuleState

DELAYS_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000, 50_400, 72_000, 86_400)
"""The schedule that Standard Webhooks suggests: after the first attempt 5 s, then 5 min, and so on for three days."""


class Move(Enum):
    """What a look at a rule changes."""

    STAY = "stay"
    FIRE = "fire"
    QUIET = "quiet"  # its condition is not met any more: the calm begins
    STIR = "stir"  # the condition is met again before the calm was over
    RESOLVE = "resolve"


def delay_seconds(*, attempt: int, random: float) -> float:
    """After attempt number `attempt`; `random` is from 0 to 1. Up to a fifth later, so that not all come at once."""
    base = DELAYS_SECONDS[min(max(attempt, 1), len(DELAYS_SECONDS)) - 1]
    return base * (1 + random / 5)


def move(state: str, *, is_met: bool, quiet_seconds: float | None, calm_seconds: float) -> Move:
    """`quiet_seconds`: for how long the condition of a firing rule has not been met; None before the calm begins."""
    if state != RuleState.FIRING:
        return Move.FIRE if is_met else Move.STAY
    if is_met:
        return Move.STAY if quiet_seconds is None else Move.STIR
    if (quiet_seconds or 0.0) >= calm_seconds:  # at once where there is no calm
        return Move.RESOLVE
    return Move.QUIET if quiet_seconds is None else Move.STAY
