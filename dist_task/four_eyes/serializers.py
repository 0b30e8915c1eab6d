"""Requests for approval on the wire."""

from __future__ import annotations

from rest_framework import serializers

from dist_task.wire import RowSerializer

from .models import ApprovalRequest


class RequestEntry(RowSerializer):
    class Meta:
        model = ApprovalRequest
        fields = (
            "id",
            "act",
            "status",
            "instance_id",
            "batch",
            "remark",
            "asked_by",
            "asked_at",
            "expires_at",
            "decided_by",
            "decided_at",
            "decision_remark",
        )

    instance_id = serializers.CharField(
        source="transaction.instance_id", default=None, allow_null=True, help_text="Of what is to be compensated."
    )
    batch = serializers.IntegerField(source="batch_id", allow_null=True, help_text="The number of the batch.")
