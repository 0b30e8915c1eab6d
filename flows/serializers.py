"""Flows on the wire."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.wire import Flag, RowSerializer, StrictSerializer, Text

from .models import Flow

LONGEST_DESCRIPTION = 10_000
BRIEF = (
    "id",
    "name",
    "description",
    "flow_type",
    "version",
    "is_active",
    "create_user",
    "created_at",
    "updated_at",
)


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]})
class Definition(serializers.Field):
    """JSON text, or the object itself."""

    default_error_messages: ClassVar[dict[str, Any]] = {"invalid": _("Must be a JSON string or a JSON object.")}

    def to_internal_value(self, data: Any) -> str | dict[str, Any]:
        if not isinstance(data, str | dict):
            self.fail("invalid")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class NewFlow(StrictSerializer):
    name = Text(max_length=100, single_line=True)
    description = Text(required=False, allow_blank=True, default="", max_length=LONGEST_DESCRIPTION)
    flow_type = Text(max_length=50, single_line=True)
    definition = Definition()
    create_user = Text(max_length=100, single_line=True)


class FlowChange(StrictSerializer):
    """What PUT takes: what is left out stays as it is."""

    name = Text(required=False, max_length=100, single_line=True)
    description = Text(required=False, allow_blank=True, max_length=LONGEST_DESCRIPTION)
    flow_type = Text(required=False, max_length=50, single_line=True)
    definition = Definition(required=False)
    create_user = Text(required=False, max_length=100, single_line=True)
    is_active = Flag(required=False)


class CreatedFlow(RowSerializer):
    class Meta:
        model = Flow
        fields = ("id", "name", "version", "created_at")


class BriefFlow(RowSerializer):
    class Meta:
        model = Flow
        fields = BRIEF


class FullFlow(RowSerializer):
    class Meta:
        model = Flow
        fields = (*BRIEF, "definition")

    definition = serializers.SerializerMethodField()

    @extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]})
    def get_definition(self, flow: Flow) -> Any:
        return json.loads(flow.definition) if self.context.get("as_object") else flow.definition


class DeletedFlow(serializers.Serializer):
    id = serializers.CharField()
    deleted = serializers.BooleanField()
