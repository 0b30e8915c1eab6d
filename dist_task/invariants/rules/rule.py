"""A rule, as it is checked and told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`number` is that of docs/guarantees.md. A warning is what may be right for a moment."""

    number: int
    name: str
    sentence: str
    sql: str
    is_warning: bool = False
