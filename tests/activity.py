"""What others in this test's database are at, for tests that wait until somebody waits."""

from __future__ import annotations

from typing import Any


def waits_for_a_lock(cursor: Any) -> bool:
    """Whether anybody does; also asked again and again in one transaction, which sees others as at its first look."""
    return _is_seen(cursor, "wait_event_type = 'Lock'")


def sleeps(cursor: Any) -> bool:
    """Whether anybody is in the middle of `pg_sleep`."""
    return _is_seen(cursor, "wait_event = 'PgSleep'")


def _is_seen(cursor: Any, condition: str) -> bool:
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(f"SELECT FROM pg_stat_activity WHERE {condition} AND datname = current_database()")
    return cursor.fetchone() is not None
