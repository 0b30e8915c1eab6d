"""The rules. Each asks for the rows that break it: a select with one text column named `example`.

They may use `task` and `edge`, made of the flows' definitions: see `graph.GRAPH`.
"""

from __future__ import annotations

from . import attempts, belonging, kin, people, progress, records, states, undoing
from .rule import Rule

__all__ = ["ELSEWHERE", "NEVER_PRUNED", "RULES", "Rule"]

_MODULES = (belonging, attempts, states, kin, undoing, progress, records, people)
RULES = tuple(sorted((rule for module in _MODULES for rule in module.RULES), key=lambda rule: rule.number))
"""By their numbers in docs/guarantees.md."""

NEVER_PRUNED = "statistics_never_pruned"

ELSEWHERE = {
    1: "an answered start survives (the campaign keeps the answers)",
    3: "a refused start leaves nothing (tests of the API; the campaign)",
    19: "a poison transaction delays nobody (tests/safety)",
    20: "the same idempotency key on all attempts (the called service of the campaign sees it)",
    22: "the log is append-only: no code path changes it, no trigger enforces it",
}
"""What rows alone cannot show, and who shows it."""
