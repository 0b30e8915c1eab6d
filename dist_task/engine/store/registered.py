"""Connections and secrets as they are stored."""

from __future__ import annotations

from typing import Any, NamedTuple

CHANGED = """
WITH stored AS (
    SELECT 'connection' AS what, id, xmin, name, kind, config, is_active, '' AS sealed FROM flows_connection
    UNION ALL SELECT 'secret', id, xmin, name, '', NULL, true, sealed FROM flows_secret
), state AS (
    SELECT md5(coalesce(string_agg(concat_ws(':', what, id, xmin), ',' ORDER BY what, id), '')) AS mark FROM stored
)
SELECT mark, what, name, kind, config, is_active, sealed
FROM state LEFT JOIN stored ON true WHERE mark IS DISTINCT FROM %s
"""
"""Nothing while nothing has changed. The mark is of the rows' versions: the times of two editors may commit out of
order."""


class Registered(NamedTuple):
    mark: str
    connections: list[tuple[str, str, dict[str, Any], bool]]  # name, kind, config, is_active
    secrets: list[tuple[str, str]]  # name, sealed


def changed(cursor: Any, *, mark: str | None) -> Registered | None:
    """All that is stored, if it is not what it was at `mark`."""
    cursor.execute(CHANGED, (mark,))
    rows = cursor.fetchall()
    if not rows:
        return None
    return Registered(
        mark=rows[0][0],
        connections=[row[2:6] for row in rows if row[1] == "connection"],
        secrets=[(row[2], row[6]) for row in rows if row[1] == "secret"],
    )
