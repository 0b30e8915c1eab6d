"""`wait` tasks: nothing is called; the transaction goes on after so many seconds, or at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError
from dist_task.problems import faults
from dist_task.states import WaitsFor

from .base import Ongoing, TaskCall

MOST_SECONDS = 366 * 86_400
KEYS = frozenset({"seconds", "until"})


class WaitExecutor:
    kind: ClassVar[str] = "wait"
    is_trusted: ClassVar[bool] = True
    is_harmless: ClassVar[bool] = True
    examples: ClassVar[Mapping[str, Any]] = {"seconds": 600, "until": "2024-01-31T10:00:00Z"}

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        strangers = [key for key in config if key not in KEYS]
        if strangers or len(config) != 1:
            sentence = _("say either seconds or until, and nothing else")
            return faults(strangers[0] if strangers else "seconds", [sentence])
        key, value = next(iter(config.items()))
        if isinstance(value, str) and "${" in value:
            return []  # known when it begins
        try:
            _seconds(config)
        except ValueError as error:
            return faults(key, [str(error)])
        return []

    def changes_nothing(self, config: Mapping[str, Any]) -> bool:
        return True

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Ongoing:
        """Waits on the database's clock from now on; a time that has passed is no wait."""
        try:
            return Ongoing(WaitsFor.TIME, seconds=_seconds(call.config))
        except ValueError as error:
            raise ExecutionError(str(error), code="INVALID_INPUT", permanent=True) from error

    async def close(self) -> None:
        """Nothing was opened."""


def _seconds(config: Mapping[str, Any]) -> float:
    """ValueError with a sentence for what is none."""
    if "until" in config:
        return min(_seconds_until(config["until"]), MOST_SECONDS)
    seconds = config["seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_SECONDS:
        raise ValueError(_("seconds must be a number from 0 to %(most)d") % {"most": MOST_SECONDS})
    return float(seconds)


def _seconds_until(text: object) -> float:
    try:
        until = datetime.fromisoformat(text)  # type: ignore[arg-type]  # what is no text is a TypeError
    except (TypeError, ValueError):
        raise ValueError(_("until must be a time such as 2024-01-31T10:00:00Z")) from None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
