"""What a worker's connection is given when it opens: its settings, and the statements of the hot path."""

from __future__ import annotations

from typing import Any

from .claims import CLAIM
from .record_sql import CALL_RECORD_BATCH, RECORD_BATCH

PLANS = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    "SET plan_cache_mode = force_generic_plan"
)
"""With the joins fixed to indexes a plan of an empty table serves a full one, too."""


def prepare(cursor: Any) -> None:
    """Once per connection."""
    cursor.execute(PLANS)
    cursor.execute(RECORD_BATCH)
    cursor.execute(CALL_RECORD_BATCH)
    cursor.execute(CLAIM)
