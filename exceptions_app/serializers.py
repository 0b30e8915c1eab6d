"""Exceptions on the wire."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.engine.remarks import LONGEST_REMARK
from dist_task.models import ExecutionLog, LogEvent
from dist_task.states import Resolution, RunStatus, TransactionStatus
from dist_task.wire import (
    Flag,
    JSONObject,
    JSONValue,
    Moment,
    Reason,
    RowSerializer,
    Seconds,
    StrictSerializer,
    Text,
    WireTime,
)

from .models import ExceptionRecord

LONGEST_DELAY = 30 * 86_400
LONGEST_NAME = 150
MOST_COMMENTS = 100


def comments_on(record: ExceptionRecord) -> list[ExecutionLog]:
    """The newest ones, the oldest of them first."""
    log = ExecutionLog.objects.filter(transaction=record.transaction_id, event=LogEvent.COMMENTED)
    newest = log.filter(detail__exception=record.pk).only("at", "actor", "message").order_by("-id")[:MOST_COMMENTS]
    return list(newest)[::-1]


class ExceptionEntry(RowSerializer):
    class Meta:
        model = ExceptionRecord
        fields = (
            "id",
            "task_id",
            "task_name",
            "error_message",
            "handled",
            "status",
            "instance_id",
            "flow_id",
            "task",
            "op",
            "item",
            "error_code",
            "outcome",
            "occurrences",
            "retry_next_at",
            "opened_at",
            "last_at",
            "handled_at",
            "handled_by",
            "resolution",
            "remark",
            "assignee",
        )

    task_id = serializers.CharField(source="wire_task_id", help_text="{instance_id}_{task}")
    task = serializers.CharField(source="task_id", help_text="The id of the task in its flow.")
    handled = serializers.BooleanField()
    instance_id = serializers.CharField(source="transaction.instance_id")


class Comment(serializers.Serializer):
    at = WireTime()
    actor = serializers.CharField()
    remark = serializers.CharField(source="message")


class FullException(ExceptionEntry):
    class Meta:
        model = ExceptionRecord
        fields = (*ExceptionEntry.Meta.fields, "comments")

    comments = serializers.SerializerMethodField(help_text="The newest hundred, the oldest of them first.")

    @extend_schema_field(Comment(many=True))
    def get_comments(self, record: ExceptionRecord) -> list[dict[str, Any]]:
        return list(Comment(comments_on(record), many=True).data)


class Handling(StrictSerializer):
    remark = Text(required=False, allow_blank=True, default="", max_length=LONGEST_REMARK)
    resolution = serializers.ChoiceField(
        choices=Resolution.choices, required=False, default=Resolution.ACKNOWLEDGED.value
    )


class Retrying(StrictSerializer):
    remark = Text(required=False, allow_blank=True, default="", max_length=LONGEST_REMARK)
    delay = Seconds(
        required=False,
        min_value=0,
        max_value=LONGEST_DELAY,
        help_text="Seconds from now, 0 for now; without it, the interval of the task.",
    )
    at = Moment(required=False, help_text="A time instead of `delay`, within the next 30 days.")
    input = JSONObject(
        required=False,
        help_text="What the task is given instead, from now on. The Idempotency-Key stays the same: it is for calls "
        "that were not done.",
    )
    force = Flag(
        required=False,
        default=False,
        help_text="Also where the strategy is no_retry, and an `input` where the task may have been executed.",
    )


class Skipping(Reason):
    output = JSONValue(required=False, help_text="In place of what the task would have given.")
    force = Flag(
        required=False,
        default=False,
        help_text="Also where it may have been executed, or its exception was only handled.",
    )


class Completing(Reason):
    output = JSONValue(required=False, help_text="What the task gave, for those that depend on it.")
    force = Flag(required=False, default=False, help_text="Also where its exception was only handled.")


class Assigning(Reason):
    assignee = Text(
        allow_blank=True, max_length=LONGEST_NAME, single_line=True, help_text="The name of a user; empty: nobody."
    )
    force = Flag(required=False, default=False, help_text="Also where somebody else looks after it.")


class SettledException(serializers.Serializer):
    exception_id = serializers.IntegerField()
    handled = serializers.BooleanField()
    resolution = serializers.ChoiceField(choices=Resolution.choices)
    task_status = serializers.ChoiceField(choices=RunStatus.choices)
    instance_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TransactionStatus.choices, help_text="Of the transaction.")


class AssignedException(serializers.Serializer):
    exception_id = serializers.IntegerField()
    assignee = serializers.CharField()


class HandledException(serializers.Serializer):
    exception_id = serializers.IntegerField()
    handled = serializers.BooleanField()
    resolution = serializers.ChoiceField(choices=Resolution.choices)


class ScheduledRetry(serializers.Serializer):
    exception_id = serializers.IntegerField()
    retry_scheduled = serializers.BooleanField()
    retry_next_at = WireTime()
