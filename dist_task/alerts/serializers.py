"""Alert rules, channels and deliveries on the wire."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.wire import RowSerializer

from .models import AlertRule, Channel, Delivery, DeliveryLog

MOST_LOG = 50


class AlertRuleEntry(RowSerializer):
    channels: Any = serializers.SlugRelatedField(slug_field="name", many=True, read_only=True)

    class Meta:
        model = AlertRule
        fields = (
            "id",
            "name",
            "kind",
            "severity",
            "flow_name",
            "outcome",
            "threshold",
            "window_seconds",
            "age_seconds",
            "calm_seconds",
            "channels",
            "is_active",
            "state",
            "since",
            "value",
            "checked_at",
        )


class ChannelEntry(RowSerializer):
    """What leads there is for the console: a chat's URL and people's addresses are nobody else's business."""

    class Meta:
        model = Channel
        fields = ("id", "name", "kind", "language", "is_active", "why_inactive")


class DeliveryEntry(RowSerializer):
    channel = serializers.CharField(source="channel.name")

    class Meta:
        model = Delivery
        fields = (
            "id",
            "message_id",
            "channel",
            "event",
            "subject",
            "status",
            "attempts",
            "due_at",
            "last_error",
            "response_status",
            "created_at",
            "last_at",
            "finished_at",
        )


class DeliveryLogEntry(RowSerializer):
    class Meta:
        model = DeliveryLog
        fields = ("event", "attempt", "actor", "message", "response_status", "at")


class DeliveryDetail(DeliveryEntry):
    payload = serializers.DictField()
    log = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = (*DeliveryEntry.Meta.fields, "payload", "response", "log")

    @extend_schema_field(DeliveryLogEntry(many=True))
    def get_log(self, delivery: Delivery) -> Any:
        newest = delivery.log.order_by("-id")[:MOST_LOG]
        return DeliveryLogEntry(list(newest)[::-1], many=True).data
