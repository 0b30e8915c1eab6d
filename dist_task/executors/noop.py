"""A task that does nothing: a join, a placeholder, a measurement of the engine itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.problems import Fault

from .base import Result, TaskCall


class NoopExecutor:
    kind: ClassVar[str] = "noop"
    is_trusted: ClassVar[bool] = True

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        message = _("a noop task has no configuration; remove %(key)s")
        return [Fault(message % {"key": key}, key=key) for key in config]

    def changes_nothing(self, config: Mapping[str, Any]) -> bool:
        return True

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Result:
        return Result()

    async def close(self) -> None:
        return None
