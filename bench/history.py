"""Big tables: finished transactions by the million, written as the service would have left them.

The service runs a few of them; each further one is a copy of one of these rows, of its task runs and its log, with
ids, names and times of its own. The columns are read from the database, so that a new one is copied too.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a lower-case name

from bench.children import StandFailed
from bench.stand import Stand
from bench.throughput import Found

SLICE = 250_000
APART_SECONDS = 0.5
BYTES_PER_TRANSACTION, BYTES_OF_WAL = 5_000, 3_000_000_000
"""Somewhat more than a W3 takes with its indexes: the disk has to have as much before anything is written."""

TRANSACTIONS, RUNS, LOG = "transactions_transaction", "dist_task_taskrun", "dist_task_executionlog"
SESSION = "SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '1GB'"
"""Ends with the session. The copies point at rows that exist, so that no foreign key has to be looked up."""
COLUMNS = """
    SELECT column_name, data_type FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = %s AND column_name <> 'id' AND is_generated = 'NEVER'
    ORDER BY ordinal_position
"""
ROLLUP = """
    INSERT INTO dist_task_statrollup (flow_id, bucket, created, succeeded, failed, cancelled, duration_ms)
    SELECT flow_id, date_bin('15 minutes', created_at, 'epoch'), count(*), count(*), 0, 0,
           sum(extract(epoch FROM completed_at - created_at) * 1000)::bigint
    FROM transactions_transaction WHERE id BETWEEN %s AND %s GROUP BY 1, 2
    ON CONFLICT (flow_id, bucket) DO UPDATE SET created = dist_task_statrollup.created + excluded.created,
        succeeded = dist_task_statrollup.succeeded + excluded.succeeded,
        duration_ms = dist_task_statrollup.duration_ms + excluded.duration_ms
"""
FILLED_PERCENT = 75
FILLFACTOR = """
    SELECT option_value FROM pg_class, pg_options_to_table(reloptions)
    WHERE pg_class.oid = %s::regclass AND option_name = 'fillfactor'
"""
SIZES = """
    SELECT relname, n_live_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables WHERE relname = ANY(%s)
"""


def fill(stand: Stand, *, count: int) -> Found:
    """Adds `count` finished W3; rows and bytes of the tables come back."""
    check_disk(stand.data, count=count)
    began = time.monotonic()
    with closing(stand.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(SESSION)
        template, first = _template(cursor, flow_id=stand.flow_ids["W3"]), _reserve(cursor, count=count)
        with _filled_as_by_work(cursor):
            for start, size in _slices(count):
                _copy(cursor, template=template, first=first + start, age=count - start, size=size)
                sys.stderr.write(f"history: {start + size:,} of {count:,} transactions\n")
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")
        cursor.execute(SIZES, [[TRANSACTIONS, RUNS, LOG]])
        sizes = cursor.fetchall()
    found = {"transactions": float(count), "fill_seconds": time.monotonic() - began}
    found |= {f"{name}_rows": float(rows) for name, rows, _ in sizes}
    return {"history": found | {"megabytes": sum(size for *_, size in sizes) / 1e6}}


def check_disk(folder: Path, *, count: int) -> None:
    free, needed = shutil.disk_usage(folder).free, count * BYTES_PER_TRANSACTION + BYTES_OF_WAL
    if free < needed:
        raise StandFailed(
            f"{count:,} transactions may take {needed / 1e9:,.1f} GB and {folder} has {free / 1e9:,.1f}: "
            "set TMPDIR to a folder with more, or ask for fewer with --history."
        )


def _slices(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, SLICE):
        yield start, min(SLICE, count - start)


@contextmanager
def _filled_as_by_work(cursor: Cursor) -> Iterator[None]:
    """The service fills a page of runs up to the fillfactor with short rows, which grow on it when they end.

    Copies of grown rows would stop at the fillfactor with room for one short row left on every page. Each start would
    then go to a page of its own and, the first time after a checkpoint, write all of it to the WAL.
    """
    cursor.execute(FILLFACTOR, [RUNS])
    ((fillfactor,),) = cursor.fetchall()
    change = sql.SQL("ALTER TABLE {} SET (fillfactor = {})")
    cursor.execute(change.format(sql.Identifier(RUNS), sql.Literal(FILLED_PERCENT)))
    yield
    cursor.execute(change.format(sql.Identifier(RUNS), sql.Literal(int(fillfactor))))


def _template(cursor: Cursor, *, flow_id: str) -> int:
    """The id of a transaction that the service has run."""
    cursor.execute("SELECT max(id) FROM transactions_transaction WHERE flow_id = %s AND status = 'success'", [flow_id])
    found = cursor.fetchall()[0][0]
    if found is None:
        raise StandFailed("no finished transaction is there to be copied")
    return int(found)


def _reserve(cursor: Cursor, *, count: int) -> int:
    """The first of `count` ids that nobody else gets."""
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [TRANSACTIONS])
    sequence = cursor.fetchall()[0][0]
    cursor.execute("SELECT nextval(%s)", [sequence])
    first = int(cursor.fetchall()[0][0])
    cursor.execute("SELECT setval(%s, %s)", [sequence, first + count])
    return first


def _copy(cursor: Cursor, *, template: int, first: int, age: int, size: int) -> None:
    numbers = {"template": template, "first": first, "age": age, "size": size, "apart": APART_SECONDS}
    named = {"instance_id": "'history-' || (%(first)s + n)"}
    cursor.execute(_copying(cursor, TRANSACTIONS, key="id", known=named), numbers)
    for table in (RUNS, LOG):
        cursor.execute(_copying(cursor, table, key="transaction_id", known={}), numbers)
    cursor.execute(ROLLUP, [first, first + size - 1])


def _copying(cursor: Cursor, table: str, *, key: str, known: dict[str, str]) -> sql.Composable:
    """INSERT ... SELECT of a table's template rows, once per number; times go back, the first ones furthest."""
    cursor.execute(COLUMNS, [table])
    values: dict[str, Any] = {key: sql.SQL("%(first)s + n")}
    for name, kind in cursor.fetchall():
        if name == key:
            continue
        values[name] = sql.SQL(known[name]) if name in known else _value(name, kind=kind)
    return sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} FROM {table} t, generate_series(0, %(size)s - 1) n "
        "WHERE t.{key} = %(template)s ORDER BY n, t.id"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, values)),
        values=sql.SQL(", ").join(values.values()),
        key=sql.Identifier(key),
    )


def _value(name: str, *, kind: str) -> sql.Composable:
    column = sql.SQL("t.{}").format(sql.Identifier(name))
    if kind != "timestamp with time zone":
        return column
    return sql.SQL("{} - make_interval(secs => (%(age)s - n) * %(apart)s)").format(column)
