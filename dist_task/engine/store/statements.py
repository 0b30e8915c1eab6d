"""What a worker's connection is given when it opens: its settings, and the statements of the hot path."""

from __future__ import annotations

from .claims import CLAIM
from .record_sql import CALL_RECORD_BATCH, RECORD_BATCH

SETTINGS = (
    "SET lock_timeout = '5s'; SET statement_timeout = '30s'",
    # With scans and joins fixed to indexes the plans that an empty database got serve a full one, too. A scan by bitmap
    # would read all that is due for each claim, and sort it.
    "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off",
    "SET plan_cache_mode = force_generic_plan",
)
HOT = (RECORD_BATCH, CALL_RECORD_BATCH, CLAIM)
