"""Batches: a set frozen in one statement, whose turn it is, what became of an item, and the moves of a batch.

Of several workers one holds the row of a batch; the others pass it by. What an item's verb changes, its result and the
batch's count of it are one commit: whoever dies in between has done nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from dist_task.batches.models import Batch, BatchItem, BatchLog
from dist_task.batches.words import BATCH_MOVES, FINAL_BATCH, BatchStatus, ItemStatus, Target
from dist_task.errors import NotFound
from dist_task.states import sources

NAME_OF = {Target.EXCEPTIONS: "transaction__instance_id", Target.TRANSACTIONS: "instance_id"}


class Turn(NamedTuple):
    """A batch whose row this database transaction holds. `wait_seconds`: until the rate limit allows its next item."""

    id: int
    target: str
    verb: str
    parameters: dict[str, Any]
    remark: str
    actor: str
    language: str
    rate: float
    last_item_id: int
    wait_seconds: float


class Item(NamedTuple):
    id: int
    target_id: int
    name: str


def freeze(batch: Batch, *, rows: QuerySet[Any], most: int) -> int:
    """The ids of `rows` become its items, the oldest first, at most `most`. Returns how many."""
    chosen = rows.order_by("pk").values_list("pk", NAME_OF[Target(batch.target)])[:most]
    try:
        sql, parameters = chosen.query.sql_with_params()
    except EmptyResultSet:  # Django knows without asking that nothing matches
        return 0
    insert = "INSERT INTO batches_batchitem (batch_id, target_id, name) SELECT %s::bigint, f.* FROM"
    with connection.cursor() as cursor:
        cursor.execute(f"{insert} ({sql}) f ORDER BY 2", [batch.pk, *parameters])  # compiled by Django
        count = int(cursor.rowcount)
    Batch.objects.filter(pk=batch.pk).update(total=count)
    return count


def next_running(cursor: Any, *, within_seconds: float) -> int | None:
    """The batch that has waited longest for its next item, which may be done within so many seconds."""
    cursor.execute(
        """
        SELECT id FROM batches_batch
        WHERE status = 'running' AND next_at <= clock_timestamp() + %s * interval '1 second'
        ORDER BY next_at LIMIT 1
        """,
        (within_seconds,),
    )
    row = cursor.fetchone()
    return row[0] if row else None


def take_turn(batch_id: int) -> Turn | None:
    """None when it does not run any more, or somebody else is at it."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT id, target, verb, parameters::text, remark, created_by, language, rate, last_item_id,
                   GREATEST(EXTRACT(EPOCH FROM next_at - clock_timestamp()), 0)::float8
            FROM batches_batch WHERE id = %s AND status = 'running' FOR NO KEY UPDATE SKIP LOCKED
            """,
            (batch_id,),
        )
        row = cursor.fetchone()
    return Turn(*row)._replace(parameters=json.loads(row[3])) if row else None


def next_item(turn: Turn) -> Item | None:
    """After the last one: those that ended are not passed again, however many there are."""
    rows = BatchItem.objects.filter(batch_id=turn.id, id__gt=turn.last_item_id, status=ItemStatus.PENDING)
    row = rows.order_by("id").values_list("id", "target_id", "name").first()
    return Item(*row) if row else None


def record(turn: Turn, *, item: Item, status: str, message: str) -> float:
    """The item has ended, and the batch counts it. Returns the seconds until the rate allows its next one.

    What came late is made up for by one item at the most: a batch that stood still does not then run at full speed.
    """
    BatchItem.objects.filter(pk=item.id).update(status=status, message=message, at=Now())
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE batches_batch
            SET done = done + (%(result)s = 'done')::int, refused = refused + (%(result)s = 'refused')::int,
                failed = failed + (%(result)s = 'failed')::int, last_item_id = %(item)s,
                started_at = COALESCE(started_at, clock_timestamp()),
                next_at = GREATEST(next_at + %(pause)s * interval '1 second', clock_timestamp())
            WHERE id = %(id)s
            RETURNING GREATEST(EXTRACT(EPOCH FROM next_at - clock_timestamp()), 0)::float8
            """,
            {"result": status, "item": item.id, "pause": 1 / turn.rate, "id": turn.id},
        )
        return float(cursor.fetchone()[0])


def finish(turn: Turn) -> None:
    """Every item has ended."""
    Batch.objects.filter(pk=turn.id).update(status=BatchStatus.DONE, finished_at=Now())


def lock(batch_id: int) -> Batch:
    """NotFound where it was removed meanwhile."""
    try:
        return Batch.objects.select_for_update(no_key=True).get(pk=batch_id)
    except Batch.DoesNotExist:
        raise NotFound(_("batch %(id)s does not exist") % {"id": batch_id}) from None


def move(batch_id: int, *, to: str) -> bool:
    """False when it is not in a status from which that may be reached. One that awaits a second person never is: only
    `decide` moves it."""
    may = [status for status in sources(BATCH_MOVES, to=to) if status != BatchStatus.AWAITING]
    return _move(batch_id, of=may, to=to)


def decide(batch_id: int, *, to: str) -> bool:
    """Of one that awaits a second person: it begins, or never will. False when it does not await anybody."""
    return _move(batch_id, of=[BatchStatus.AWAITING], to=to)


def _move(batch_id: int, *, of: Sequence[str], to: str) -> bool:
    rows = Batch.objects.filter(pk=batch_id, status__in=of)
    return bool(rows.update(status=to, next_at=Now(), finished_at=Now() if to in FINAL_BATCH else None))


def write_log(
    batch_id: int, *, event: str, actor: str, message: str, detail: Mapping[str, object] | None = None
) -> None:
    BatchLog.objects.create(batch_id=batch_id, event=event, actor=actor, message=message, detail=detail)
