"""Transactions on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import CompensationStatus, RunStatus, TransactionStatus
from dist_task.wire import JSONObject, Remark, RowSerializer, StrictSerializer, Text, WireTime, wire_time
from flows.definition import FlowDefinition

from .models import Transaction

BRIEF = (
    "instance_id",
    "flow_id",
    "flow_name",
    "flow_version",
    "status",
    "compensation",
    "cancelling",
    "created_by",
    "created_at",
    "started_at",
    "completed_at",
    "duration",
)
MOST_STARTS = 1000
RUN_COLUMNS = (
    "task_id",
    "status",
    "attempt",
    "error_code",
    "error_message",
    "due_at",
    "started_at",
    "finished_at",
)


@extend_schema_field(
    {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"^[^\s/\\?#%\u0000-\u001f\u007f-\u009f]+$"}
)
class InstanceId(Text):
    """The engine judges it; this is what the schema says of it."""


class NewTransaction(StrictSerializer):
    instance_id = InstanceId()
    flow_id = Text(max_length=100)
    params = JSONObject(required=False)


class NewTransactions(StrictSerializer):
    transactions = serializers.ListField(child=serializers.JSONField(), max_length=MOST_STARTS, allow_empty=False)


class StartedTransaction(serializers.Serializer):
    instance_id = serializers.CharField()
    flow_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TransactionStatus.choices)


class BatchEntry(serializers.Serializer):
    code = serializers.IntegerField(help_text="0, or what a single start would have answered: 400, 404, 409.")
    message = serializers.CharField()
    data = StartedTransaction(allow_null=True)  # type: ignore[assignment]  # the name is on the wire


class BatchAnswer(serializers.Serializer):
    results = BatchEntry(many=True)


class MovedTransaction(serializers.Serializer):
    instance_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TransactionStatus.choices)


class Decision(Remark):
    task_id = Text(max_length=64, help_text="The approval, by the id of its task.")


class CancelledTransaction(MovedTransaction):
    cancelling = serializers.BooleanField(help_text="Attempts in flight are awaited; then it is cancelled.")


class CompensatedTransaction(MovedTransaction):
    compensation = serializers.ChoiceField(choices=CompensationStatus.choices)


class UndoEntry(serializers.Serializer):
    """A task that has done something, in the order in which that is undone."""

    task_id = serializers.CharField()
    name = serializers.CharField()
    step = serializers.IntegerField(help_text="Counts from 1; those of one step are undone side by side.")
    undo = serializers.BooleanField(help_text="False: the task has no `compensate` and is passed over.")
    maybe_executed = serializers.BooleanField(help_text="An attempt of it had no definite answer.")
    status = serializers.ChoiceField(choices=RunStatus.choices, allow_null=True)
    attempt = serializers.IntegerField()
    error_message = serializers.CharField()


class Compensation(serializers.Serializer):
    instance_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TransactionStatus.choices)
    compensation = serializers.ChoiceField(choices=CompensationStatus.choices)
    tasks = UndoEntry(many=True)


class TaskEntry(serializers.Serializer):
    """A task of the flow, as it stands in this transaction."""

    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=RunStatus.choices)
    task_id = serializers.CharField()
    attempt = serializers.IntegerField()
    error_code = serializers.CharField()
    error_message = serializers.CharField()
    due_at = WireTime(allow_null=True)
    started_at = WireTime(allow_null=True)
    finished_at = WireTime(allow_null=True)


def duration(txn: Any) -> float | None:
    if txn.completed_at is None:
        return None
    return round((txn.completed_at - txn.created_at).total_seconds(), 3)


class BriefTransaction(RowSerializer):
    class Meta:
        model = Transaction
        fields = BRIEF

    flow_name = serializers.CharField(source="flow.name")
    flow_version = serializers.IntegerField(source="flow.version")
    duration = serializers.SerializerMethodField(help_text="Seconds from created to completed.")

    def get_duration(self, txn: Transaction) -> float | None:
        return duration(txn)


class FullTransaction(BriefTransaction):
    """What `shown` answers."""

    class Meta:
        model = Transaction
        fields = (*BRIEF, "params", "tasks")

    tasks = TaskEntry(many=True)


def shown(row: Any, *, params: Any, definition: FlowDefinition, runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What `FullTransaction` describes, written by hand: it is asked for most. `runs`: rows of RUN_COLUMNS."""
    return {
        "instance_id": row.instance_id,
        "flow_id": row.flow_id,
        "flow_name": row.flow_name,
        "flow_version": row.flow_version,
        "status": row.status,
        "compensation": row.compensation,
        "cancelling": row.cancelling,
        "created_by": row.created_by,
        "created_at": wire_time(row.created_at),
        "started_at": wire_time(row.started_at),
        "completed_at": wire_time(row.completed_at),
        "duration": duration(row),
        "params": params,
        "tasks": entries(row, definition=definition, runs=runs),
    }


def entries(txn: Any, *, definition: FlowDefinition, runs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry per task of the definition, in its order; written by hand, since a flow may have 10,000."""
    found = {run["task_id"]: run for run in runs}
    never = RunStatus.CANCELLED if txn.status == TransactionStatus.CANCELLED else RunStatus.PENDING
    blank = {
        **dict.fromkeys(RUN_COLUMNS),
        "status": never.value,
        "attempt": 0,
        "error_code": "",
        "error_message": "",
    }
    return [
        entry(found.get(task.id, blank), task_id=task.id, name=task.name, instance_id=txn.instance_id)
        for task in definition.tasks.values()
    ]


def entry(run: dict[str, Any], *, task_id: str, name: str, instance_id: str) -> dict[str, Any]:
    return {
        "id": f"{instance_id}_{task_id}",
        "name": name,
        "status": run["status"],
        "task_id": task_id,
        "attempt": run["attempt"],
        "error_code": run["error_code"],
        "error_message": run["error_message"],
        "due_at": wire_time(run["due_at"]),
        "started_at": wire_time(run["started_at"]),
        "finished_at": wire_time(run["finished_at"]),
    }


class TaskRunEntry(RowSerializer):
    """A task run as a row: one per task and direction that has been planned."""

    class Meta:
        model = TaskRun
        fields = (
            "id",
            "name",
            "status",
            "task_id",
            "op",
            "item",
            "attempt",
            "attempt_budget",
            "due_at",
            "input",
            "output",
            "error_code",
            "error_message",
            "maybe_executed",
            "started_at",
            "finished_at",
        )

    id = serializers.SerializerMethodField()
    name = serializers.SerializerMethodField()

    def get_id(self, run: TaskRun) -> str:
        return f"{self.context['instance_id']}_{run.task_id}"

    def get_name(self, run: TaskRun) -> str:
        task = self.context["definition"].tasks.get(run.task_id)
        return task.name if task else run.task_id


class LogEntry(RowSerializer):
    class Meta:
        model = ExecutionLog
        fields = (
            "id",
            "event",
            "task_id",
            "op",
            "item",
            "attempt",
            "actor",
            "message",
            "error_code",
            "request",
            "response",
            "detail",
            "started_at",
            "at",
        )
