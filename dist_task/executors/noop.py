"""A task that does nothing: a join, a placeholder, a measurement of the engine itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from .base import Result, TaskCall


class NoopExecutor:
    kind: ClassVar[str] = "noop"
    is_trusted: ClassVar[bool] = True

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        return [_("a noop task has no configuration; remove %(key)s") % {"key": key} for key in config]

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Result:
        return Result()

    async def close(self) -> None:
        return None
