"""Removing old finished transactions, a thousand at a time, old deliveries and old batches. What was counted stays in
the statistics."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from dist_task.alerts.models import Delivery, DeliveryLog
from dist_task.batches.models import Batch, BatchItem, BatchLog
from dist_task.batches.words import FINAL_BATCH
from dist_task.errors import InvalidRequest
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.words import RequestStatus
from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import FINAL_TRANSACTION, CompensationStatus, ExceptionStatus
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

BATCH = 1_000


def prune(*, before: datetime, statuses: Collection[str], limit: int, dry_run: bool = False) -> int:
    """Removes finished transactions completed before `before`, oldest first, at most `limit`; returns how many.

    One with an exception that nobody has handled yet stays, one that is being undone, and one of which that is asked
    for. What another transaction has started stays as long as that one: without it that one would start it again, or
    take it for undone. And that one stays until what it has started has ended. What was run again stays as long as the
    one that stands on it.
    """
    if not set(statuses) <= FINAL_TRANSACTION:
        raise InvalidRequest(_("only finished transactions can be pruned"))
    if dry_run:
        return min(_count(before=before, statuses=statuses), limit)
    removed = 0
    while removed < limit:
        count = _prune_batch(before=before, statuses=statuses, size=min(BATCH, limit - removed))
        if not count:
            break
        removed += count
    return removed


def _old(*, before: datetime, statuses: Collection[str]) -> QuerySet[Transaction]:
    unhandled = ExceptionRecord.objects.exclude(status=ExceptionStatus.HANDLED).values("transaction_id")
    at_it = Q(completed_at=None) | Q(compensation=CompensationStatus.RUNNING) | Q(owes_parent=True)
    asked_for = ApprovalRequest.objects.filter(status=RequestStatus.AWAITING, transaction=OuterRef("pk"))
    children_at_it = Transaction.objects.filter(at_it, parent_id=OuterRef("pk"))
    return (
        Transaction.objects.filter(status__in=statuses, completed_at__lt=before, owner=None)
        .exclude(pk__in=unhandled)
        .exclude(compensation=CompensationStatus.RUNNING)
        .exclude(Exists(children_at_it))
        .exclude(Exists(asked_for))
        .order_by("pk")
    )


def _prunable(*, before: datetime, statuses: Collection[str]) -> QuerySet[Transaction]:
    """Those that nobody has started who is still there, and that were not run again."""
    parents = Transaction.objects.filter(pk=OuterRef("parent_id"))
    reruns = Transaction.objects.filter(rerun_of=OuterRef("pk"))
    return _old(before=before, statuses=statuses).filter(Q(parent=None) | ~Exists(parents)).exclude(Exists(reruns))


def _count(*, before: datetime, statuses: Collection[str]) -> int:
    """With those for which others stay, once these are removed, and so on."""
    level, total = _prunable(before=before, statuses=statuses), 0
    while found := level.count():
        total += found
        gone = level.order_by()
        freed = Q(parent__in=gone.values("pk")) | Q(pk__in=gone.filter(rerun_of__isnull=False).values("rerun_of"))
        level = _old(before=before, statuses=statuses).filter(freed)
    return total


@transaction.atomic
def _prune_batch(*, before: datetime, statuses: Collection[str], size: int) -> int:
    """What refers to them first, by hand: the cascade would read every row of them into memory."""
    old = _prunable(before=before, statuses=statuses).select_for_update(skip_locked=True)
    ids = set(old.values_list("pk", flat=True)[:size])
    ids -= _run_again(ids)
    for model in (ApprovalRequest, ExceptionRecord, ExecutionLog, TaskRun):
        rows = model.objects.filter(transaction_id__in=ids)
        rows._raw_delete(rows.db)
    rows = Transaction.objects.filter(pk__in=ids)
    rows._raw_delete(rows.db)
    return len(ids)


def _run_again(ids: Collection[int]) -> set[int]:
    """Those of these locked rows that were run again while they were looked for, which that look did not see."""
    found = Transaction.objects.filter(rerun_of__in=ids).values_list("rerun_of", flat=True)
    return {pk for pk in found if pk is not None}


def prune_deliveries(*, before: datetime, limit: int, dry_run: bool = False) -> int:
    """Removes deliveries that have ended, written before `before`, oldest first; returns how many."""
    old = (
        Delivery.objects.filter(created_at__lt=before, due_at=None).order_by("created_at").values_list("pk", flat=True)
    )
    if dry_run:
        return old[:limit].count()
    removed = 0
    while removed < limit:
        count = _prune_deliveries(list(old[: min(BATCH, limit - removed)]))
        if not count:
            break
        removed += count
    return removed


@transaction.atomic
def _prune_deliveries(ids: list[int]) -> int:
    """One that somebody asks to redeliver meanwhile stays."""
    rows = Delivery.objects.filter(pk__in=ids, due_at=None)
    kept = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    logs, rows = DeliveryLog.objects.filter(delivery_id__in=kept), Delivery.objects.filter(pk__in=kept)
    logs._raw_delete(logs.db)
    rows._raw_delete(rows.db)
    return len(kept)


def prune_batches(*, before: datetime, limit: int, dry_run: bool = False) -> int:
    """Removes batches that have ended, made before `before`, oldest first, with their items; returns how many."""
    old = Batch.objects.filter(created_at__lt=before, status__in=FINAL_BATCH).order_by("created_at")
    if dry_run:
        return old[:limit].count()
    ids = list(old.values_list("pk", flat=True)[:limit])
    for batch_id in ids:  # one may have a hundred thousand items
        _prune_batch_of_items(batch_id)
    return len(ids)


@transaction.atomic
def _prune_batch_of_items(batch_id: int) -> None:
    """What has ended never begins again."""
    for rows in (
        ApprovalRequest.objects.filter(batch_id=batch_id),
        BatchItem.objects.filter(batch_id=batch_id),
        BatchLog.objects.filter(batch_id=batch_id),
        Batch.objects.filter(pk=batch_id),
    ):
        rows._raw_delete(rows.db)  # the cascade would read every row into memory
