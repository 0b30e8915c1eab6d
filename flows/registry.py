"""Task definitions as pure values: what the `task_name` of a flow's task may refer to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.fields import Field


@dataclass(frozen=True, slots=True)
class RegisteredTask:
    name: str
    type: str
    description: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)  # overlaid key by key by the task's own
    inputs: tuple[Field, ...] = ()
