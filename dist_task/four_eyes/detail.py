"""What who decides a request has to see: what would be done, as things stand, and why it would be refused."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers

from dist_task.batches.api import shown_preview
from dist_task.batches.models import Batch, BatchItem
from dist_task.batches.selection import ROWS
from dist_task.batches.serializers import BatchPreview
from dist_task.engine.batches.preview import Preview, preview
from dist_task.engine.four_eyes.verbs import why_not_now
from transactions.serializers import UndoEntry
from transactions.undoing import undo_entry, undoing_of

from .models import ApprovalRequest
from .serializers import RequestEntry


class RequestDetail(RequestEntry):
    """`refusal`, `plan` and `preview` as things stand now, and only while it awaits somebody."""

    refusal = serializers.CharField(help_text="What approving it would be refused with; empty where it would not be.")
    plan = UndoEntry(many=True, allow_null=True, help_text="Of a compensation: what would be undone, in its order.")
    preview = BatchPreview(
        allow_null=True, help_text="Of a batch, for who may make one like it: what its frozen items would come to."
    )

    class Meta:
        model = ApprovalRequest
        fields = (*RequestEntry.Meta.fields, "refusal", "plan", "preview")


def shown_detail(request: ApprovalRequest, *, with_preview: bool) -> dict[str, Any]:
    """`with_preview`: for who may try the verb, as the preview does."""
    plan = found = None
    if request.is_awaiting and request.transaction is not None:
        plan = [undo_entry(each) for each in undoing_of(request.transaction)]
    if with_preview and request.is_awaiting and request.batch is not None:
        found = shown_preview(tried(request.batch))
    refusal = why_not_now(request) if request.is_awaiting else ""
    return {**RequestEntry(request).data, "refusal": refusal, "plan": plan, "preview": found}


def tried(batch: Batch) -> Preview:
    about = {"target": batch.target, "verb": batch.verb, "parameters": batch.parameters}
    return preview(frozen_rows(batch), actor=batch.created_by, **about)


def frozen_rows(batch: Batch) -> QuerySet[Any]:
    """Exactly those that were frozen, as far as they are still there."""
    rows: QuerySet[Any] = ROWS[batch.target].objects
    return rows.filter(pk__in=BatchItem.objects.filter(batch=batch).values("target_id"))
