"""What the replay commands do with many rows: make a batch, and tell how it gets on until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from django.core.management.base import CommandError
from django.db.models.functions import Now

from dist_task.batches.models import Batch, BatchItem
from dist_task.batches.words import FINAL_BATCH, BatchStatus, ItemStatus
from dist_task.models import Worker

LOOK_SECONDS, TELL_SECONDS = 0.5, 2.0
MOST_TOLD = 100

Say = Callable[[str], object]


def somebody_works() -> bool:
    return Worker.objects.filter(lease_until__gt=Now()).exists()


def follow(batch_id: int, *, say: Say) -> Batch:
    """The batch once it has ended. Who interrupts this leaves it to the cluster."""
    told, told_at = "", 0.0
    try:
        while True:
            batch = Batch.objects.get(pk=batch_id)
            if batch.status in FINAL_BATCH:
                return batch
            if (text := _standing(batch)) != told and time.monotonic() - told_at >= TELL_SECONDS:
                told, told_at = text, time.monotonic()
                say(text)
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        raise CommandError(
            f"batch {batch_id} goes on without this command: pause or cancel it in the console"
        ) from None


def _standing(batch: Batch) -> str:
    text = f"batch {batch.pk}: {batch.ended} of {batch.total}"
    if batch.refused or batch.failed:
        text += f", {batch.refused + batch.failed} of them failed"
    if batch.status == BatchStatus.PAUSED:
        return f"{text}; it is paused"
    return text if somebody_works() else f"{text}; nobody works: start a cluster"


def failures(batch: Batch) -> Iterator[str]:
    """A line for each item that was not done, up to a cap."""
    wrong = BatchItem.objects.filter(batch=batch, status__in=(ItemStatus.REFUSED, ItemStatus.FAILED)).order_by("id")
    for item in wrong[:MOST_TOLD]:
        yield f"{item.name} ({item.target_id}): {item.message}"
    if (more := batch.refused + batch.failed - MOST_TOLD) > 0:
        yield f"and {more} more: see batch {batch.pk}"
