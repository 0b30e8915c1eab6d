"""One item of a batch: the verb, its result and the count of it, in one database transaction."""

from __future__ import annotations

import logging

from django.db import connection, transaction
from django.utils.translation import override

from dist_task.batches.words import ItemStatus
from dist_task.database import is_unreachable
from dist_task.engine.store import batches, verbs
from dist_task.engine.store.batches import Item, Turn
from dist_task.errors import DistTaskError

from .table import find, key_of

logger = logging.getLogger(__name__)

LONGEST_LOCK, LONGEST_STILLNESS = "5s", "15s"
"""Whoever stands still in the middle of an item keeps others from its transaction, and nobody can pause the batch."""
LONGEST_MESSAGE = 500


@transaction.atomic
def run_next(batch_id: int) -> float | None:
    """Does the next item, or finds that it is too early. Returns the seconds to wait before the next call.

    None when there is nothing to do: the batch was paused, cancelled, has ended just now, or somebody else is at it.
    """
    _bound_waits()
    turn = batches.take_turn(batch_id)
    if turn is None or turn.wait_seconds > 0:
        return turn and turn.wait_seconds
    item = batches.next_item(turn)
    if item is None:
        batches.finish(turn)
        return None
    status, message = _outcome(turn, item=item)
    return batches.record(turn, item=item, status=status, message=message[:LONGEST_MESSAGE])


def _outcome(turn: Turn, *, item: Item) -> tuple[str, str]:
    try:
        with transaction.atomic(), override(turn.language), verbs.logged_as_of(turn.id):
            key = key_of(turn.target, target_id=item.target_id, name=item.name)
            find(turn.target, turn.verb).apply(key, parameters=turn.parameters, actor=turn.actor, remark=turn.remark)
    except DistTaskError as error:
        return ItemStatus.REFUSED, str(error)
    except Exception as error:  # one row that the service cannot handle does not keep the others waiting
        if is_unreachable(error):
            raise
        logger.exception("Item %d of batch %d failed", item.id, turn.id)
        return ItemStatus.FAILED, f"{type(error).__name__}: {error}"
    return ItemStatus.DONE, ""


def _bound_waits() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true)",
            (LONGEST_LOCK, LONGEST_STILLNESS),
        )
