"""Batches on the wire."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.engine.batches.verbs import LEAST_RATE, MOST_RATE
from dist_task.engine.operate.exceptions import LONGEST_NAME
from dist_task.engine.remarks import LONGEST_REMARK
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.serializers import RequestEntry
from dist_task.states import Resolution
from dist_task.wire import Flag, JSONObject, RowSerializer, Seconds, StrictSerializer, Text
from exceptions_app.serializers import LONGEST_DELAY
from transactions.serializers import MOST_RERUN

from .models import DEFAULT_RATE, Batch, BatchItem, BatchLog
from .selection import MOST_NAMED
from .words import Target

MOST_LOG = 50


class Parameters(StrictSerializer):
    """As of the single verb."""

    delay = Seconds(required=False, min_value=0, max_value=LONGEST_DELAY, help_text="Of retry, of exceptions.")
    force = Flag(required=False, help_text="Of retry, skip and complete, of exceptions; of rerun.")
    tasks = serializers.ListField(
        child=Text(max_length=64), required=False, max_length=MOST_RERUN, help_text="Of rerun: where to begin."
    )
    output = serializers.JSONField(required=False, help_text="Of skip and complete: what the tasks are to have given.")
    assignee = Text(
        required=False,
        allow_blank=True,
        max_length=LONGEST_NAME,
        single_line=True,
        help_text="Of assign: who, or nobody.",
    )
    resolution = serializers.ChoiceField(choices=Resolution.choices, required=False, help_text="Of handle.")


class NewBatch(StrictSerializer):
    verb = Text(
        max_length=20,
        help_text="exceptions: retry, handle, skip, complete, assign, comment; transactions: retry, pause, resume, "
        "cancel, compensate, rerun.",
    )
    target = serializers.ChoiceField(choices=Target.choices)
    filter: Any = JSONObject(required=False, help_text="The filters of the target's list, by name.")
    ids: Any = serializers.ListField(
        child=serializers.JSONField(),
        required=False,
        min_length=1,
        max_length=MOST_NAMED,
        help_text="Instead of a filter: ids of exceptions, or instance ids.",
    )
    parameters = Parameters(required=False)
    remark = Text(max_length=LONGEST_REMARK, help_text="Why; it is kept in the log of each transaction.")
    rate = Seconds(
        required=False,
        default=DEFAULT_RATE,
        min_value=LEAST_RATE,
        max_value=MOST_RATE,
        help_text="Items per second at most.",
    )
    preview = Flag(required=False, default=False, help_text="Only say what would be done.")


class BatchBrief(RowSerializer):
    class Meta:
        model = Batch
        fields = (
            "id",
            "target",
            "verb",
            "parameters",
            "selection",
            "remark",
            "rate",
            "status",
            "total",
            "done",
            "refused",
            "failed",
            "created_by",
            "created_at",
            "started_at",
            "finished_at",
        )


class BatchLogEntry(RowSerializer):
    class Meta:
        model = BatchLog
        fields = ("event", "actor", "message", "detail", "at")


class BatchDetail(BatchBrief):
    request = serializers.SerializerMethodField(help_text="Of one that awaits, or has met, a second person.")
    log = serializers.SerializerMethodField()

    class Meta:
        model = Batch
        fields = (*BatchBrief.Meta.fields, "request", "log")

    @extend_schema_field(RequestEntry(allow_null=True))
    def get_request(self, batch: Batch) -> dict[str, Any] | None:
        found = ApprovalRequest.objects.filter(batch=batch).first()
        return dict(RequestEntry(found).data) if found else None

    def get_log(self, batch: Batch) -> list[dict[str, Any]]:
        newest = batch.log.order_by("-id")[:MOST_LOG]
        return list(BatchLogEntry(list(newest)[::-1], many=True).data)


class BatchItemEntry(RowSerializer):
    target_id = serializers.IntegerField()
    instance_id = serializers.CharField(source="name")

    class Meta:
        model = BatchItem
        fields = ("id", "target_id", "instance_id", "status", "message", "at")


class PreviewGroup(serializers.Serializer):
    """Rows of the same statuses. `tried` of them were tried and undone; `refused` of those would be refused."""

    status = serializers.CharField()
    second_status = serializers.CharField(
        help_text="Of exceptions: that of the transaction; of transactions: that of the compensation."
    )
    count = serializers.IntegerField()
    tried = serializers.IntegerField()
    refused = serializers.IntegerField()
    reasons = serializers.ListField(child=serializers.CharField())


class PreviewItem(serializers.Serializer):
    target_id = serializers.IntegerField()
    instance_id = serializers.CharField()
    refusal = serializers.CharField(help_text="Empty where it would be done.")


class BatchPreview(serializers.Serializer):
    count = serializers.IntegerField()
    is_too_large = serializers.BooleanField()
    groups = PreviewGroup(many=True)
    sample = PreviewItem(many=True)


class MadeBatch(serializers.Serializer):
    """One of the two."""

    batch = BatchDetail(allow_null=True)
    preview = BatchPreview(allow_null=True)
