"""What a flow costs the database: transactions, rows and WAL, from PostgreSQL's own counters.

The counters of rows and transactions reach the views only when a session has been quiet for ten seconds or so;
therefore this is a part of its own and waits for them.
"""

from __future__ import annotations

import time

from bench.client import post_all, request
from bench.stand import Stand
from bench.throughput import CONNECTIONS, STARTS, Bench, Found, all_done

FLUSH_SECONDS = 11.0
COUNTERS = """
    SELECT d.xact_commit + d.xact_rollback AS transactions,
           d.tup_inserted AS rows_inserted, d.tup_updated AS rows_updated, d.tup_deleted AS rows_deleted,
           (SELECT sum(n_tup_hot_upd) FROM pg_stat_user_tables) AS rows_updated_hot,
           w.wal_records, w.wal_fpi AS wal_page_images, w.wal_bytes,
           (SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal') AS wal_syncs
    FROM pg_stat_database d CROSS JOIN pg_stat_wal w WHERE d.datname = current_database()
"""
NAMES = (
    "transactions", "rows_inserted", "rows_updated", "rows_deleted", "rows_updated_hot",
    "wal_records", "wal_page_images", "wal_bytes", "wal_syncs",
)  # fmt: skip


async def database(bench: Bench, *, counts: dict[str, int]) -> Found:
    """Per flow of each workload: what the counters gained in its run, and in the wait for them."""
    found, before = {}, _settled(bench.stand)
    for flow, count in counts.items():
        await _run(bench, flow=flow, count=count)
        now = _settled(bench.stand)
        found[f"{flow}.database"] = {name: (now[name] - before[name]) / count for name in NAMES}
        before = now
    return found


async def _run(bench: Bench, *, flow: str, count: int) -> None:
    port, after = bench.stand.port, bench.last_id()
    bodies = bench.bodies(flow, count=count, name=f"db-{flow}")
    requests = [request("POST", STARTS, port=port, body=body) for body in bodies]
    await post_all(requests, ports=[port], connections=CONNECTIONS)
    await all_done(bench.stand, after=after, count=count)


def _settled(stand: Stand) -> dict[str, float]:
    time.sleep(FLUSH_SECONDS)
    return {name: float(value) for name, value in zip(NAMES, stand.query(COUNTERS)[0], strict=True)}
