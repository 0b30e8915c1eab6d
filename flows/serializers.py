"""Flows on the wire."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.states import CompensationStatus, Op, RunStatus, TransactionStatus
from dist_task.wire import Flag, RowSerializer, StrictSerializer, Text

from .definition import MOST_TASKS
from .hints import EXAMPLES, ROOT, example_of
from .models import Flow
from .register import Findings

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

    @property
    def hint(self) -> str:
        return example_of(ROOT, EXAMPLES)

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


class ProblemEntry(serializers.Serializer):
    path = serializers.CharField()
    message = serializers.CharField()
    hint = serializers.CharField(help_text="What to write instead: the word that was meant, or an example.")


class Warned(RowSerializer):
    """A flow that was posted, with what its author should look at. `warnings` come in the context."""

    warnings = serializers.SerializerMethodField(help_text="What may be written, and was perhaps not meant.")

    @extend_schema_field(ProblemEntry(many=True))
    def get_warnings(self, flow: Flow) -> Any:
        return ProblemEntry(self.context["warnings"], many=True).data


class CreatedFlow(Warned):
    class Meta:
        model = Flow
        fields = ("id", "name", "version", "created_at", "warnings")


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


class ChangedFlow(Warned, FullFlow):
    class Meta:
        model = Flow
        fields = (*BRIEF, "definition", "warnings")


class DeletedFlow(serializers.Serializer):
    id = serializers.CharField()
    deleted = serializers.BooleanField()


class FlowToCheck(StrictSerializer):
    """A body of POST /api/v1/flows, of which nothing but the definition is needed."""

    name = Text(required=False, max_length=100, single_line=True)
    description = Text(required=False, allow_blank=True, max_length=LONGEST_DESCRIPTION)
    flow_type = Text(required=False, max_length=50, single_line=True)
    definition = Definition()
    create_user = Text(required=False, max_length=100, single_line=True)


class CheckedFlow(serializers.Serializer):
    """Of register.Findings."""

    valid = serializers.SerializerMethodField()
    problems = ProblemEntry(many=True)
    warnings = ProblemEntry(many=True, help_text="What may be written, and was perhaps not meant; no reason to refuse.")

    def get_valid(self, found: Findings) -> bool:
        return not found.problems


class TaskIds(serializers.ListField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=Text(), required=False, max_length=MOST_TASKS, **kwargs)


class FlowToSimulate(FlowToCheck):
    fail = TaskIds(  # type: ignore[assignment]  # the REST framework takes fields out of the class
        help_text="Tasks that fail, after all retries that are made by themselves."
    )
    unknown = TaskIds(help_text="Tasks that fail without a definite answer: they may have been executed.")
    skip = TaskIds(help_text="Tasks that are skipped.")
    fail_undo = TaskIds(help_text="Tasks whose compensation fails.")


class IdleTask(serializers.Serializer):
    task_id = serializers.CharField()
    name = serializers.CharField()


class SimulatedTask(IdleTask):
    step = serializers.IntegerField(help_text="Counts from 1; those of one step run side by side.")
    status = serializers.ChoiceField(choices=RunStatus.choices)
    maybe_executed = serializers.BooleanField()
    optional = serializers.BooleanField()


class SimulatedException(IdleTask):
    op = serializers.ChoiceField(choices=Op.choices)
    maybe_executed = serializers.BooleanField()


class SimulatedUndo(IdleTask):
    """A task that has done something, in the order in which that is undone."""

    step = serializers.IntegerField(help_text="Counts from 1; those of one step are undone side by side.")
    undo = serializers.BooleanField(
        source="is_undone", help_text="False: the task has no `compensate` and is passed over."
    )
    maybe_executed = serializers.BooleanField()
    status = serializers.ChoiceField(
        choices=RunStatus.choices, allow_null=True, help_text="Of its compensation; null where that does not begin."
    )


class SimulatedUndoing(serializers.Serializer):
    by_itself = serializers.BooleanField(help_text="False: this is what would be done if a person asked for it.")
    compensation = serializers.ChoiceField(choices=CompensationStatus.choices)
    tasks = SimulatedUndo(many=True)


class SimulatedFlow(serializers.Serializer):
    """How a transaction of the flow would go."""

    status = serializers.ChoiceField(choices=TransactionStatus.choices)
    compensation = serializers.ChoiceField(choices=CompensationStatus.choices)
    tasks = SimulatedTask(many=True)
    never_started = IdleTask(many=True)
    exceptions = SimulatedException(many=True, help_text="Those that are left for a person.")
    undo = SimulatedUndoing()
