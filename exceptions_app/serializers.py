"""Exceptions on the wire."""

from __future__ import annotations

from rest_framework import serializers

from dist_task.states import Resolution
from dist_task.wire import LONGEST_REMARK, Flag, RowSerializer, Seconds, StrictSerializer, Text, WireTime

from .models import ExceptionRecord

LONGEST_DELAY = 30 * 86_400


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
        )

    task_id = serializers.CharField(source="wire_task_id", help_text="{instance_id}_{task}")
    task = serializers.CharField(source="task_id", help_text="The id of the task in its flow.")
    handled = serializers.BooleanField()
    instance_id = serializers.CharField(source="transaction.instance_id")


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
    force = Flag(required=False, default=False, help_text="Also where the strategy is no_retry.")


class HandledException(serializers.Serializer):
    exception_id = serializers.IntegerField()
    handled = serializers.BooleanField()
    resolution = serializers.ChoiceField(choices=Resolution.choices)


class ScheduledRetry(serializers.Serializer):
    exception_id = serializers.IntegerField()
    retry_scheduled = serializers.BooleanField()
    retry_next_at = WireTime()
