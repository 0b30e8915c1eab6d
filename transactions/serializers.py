"""Transactions on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from dist_task.four_eyes.serializers import RequestEntry
from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import CompensationStatus, Op, RunStatus, TransactionStatus
from dist_task.wire import (
    Flag,
    JSONObject,
    JSONValue,
    Reason,
    RowSerializer,
    StrictSerializer,
    Text,
    WireTime,
    wire_time,
)
from flows.definition import FlowDefinition
from flows.expressions import MOST_ITEMS

from .models import Transaction

BRIEF = (
    "instance_id",
    "flow_id",
    "flow_name",
    "flow_version",
    "status",
    "compensation",
    "cancelling",
    "paused",
    "created_by",
    "created_at",
    "started_at",
    "completed_at",
    "duration",
)
MOST_STARTS = 1000
MOST_RERUN = 100
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


class Decision(Reason):
    task_id = Text(max_length=64, help_text="The approval, by the id of its task.")
    item = serializers.IntegerField(
        required=False, min_value=0, max_value=MOST_ITEMS, help_text="Of a task with `foreach`: which of its items."
    )


class CancelledTransaction(MovedTransaction):
    cancelling = serializers.BooleanField(help_text="Attempts in flight are awaited; then it is cancelled.")


class PausedTransaction(MovedTransaction):
    paused = serializers.BooleanField()


class Completion(Reason):
    task_id = Text(max_length=64, help_text="The task that waits for its service, or for a callback.")
    item = serializers.IntegerField(
        required=False, min_value=0, max_value=MOST_ITEMS, help_text="Of a task with `foreach`: which of its items."
    )
    op = serializers.ChoiceField(choices=Op.choices, required=False, default=Op.ACTION.value)
    output = JSONValue(required=False, help_text="What it gave, for those that depend on it.")


class Rerun(Reason):
    tasks = serializers.ListField(
        child=Text(max_length=64),
        required=False,
        max_length=MOST_RERUN,
        help_text="The tasks to run again, with all that depends on them; all tasks where this is left out.",
    )
    instance_id = InstanceId(
        required=False, source="new_id", help_text="The name of the new transaction; else the old one's with `:r2`."
    )
    force = Flag(required=False, help_text="Also where tasks have done something, and will do it again.")


class RerunTransaction(StartedTransaction):
    rerun_of = serializers.CharField()


class RerunPlan(serializers.Serializer):
    """What running a transaction again would do; task ids in the order of the flow."""

    instance_id = serializers.CharField()
    runs = serializers.ListField(child=serializers.CharField(), help_text="They run again.")
    carried_over = serializers.ListField(child=serializers.CharField(), help_text="What they gave is taken over.")
    done_again = serializers.ListField(
        child=serializers.CharField(),
        help_text="Of those that run: they have done something, and do it again under another Idempotency-Key.",
    )


class CompensatedTransaction(MovedTransaction):
    compensation = serializers.ChoiceField(choices=CompensationStatus.choices)
    request = RequestEntry(
        required=False, help_text="There where it was only asked for, and awaits a second person (the four-eyes rule)."
    )


class UndoEntry(serializers.Serializer):
    """A task that has done something, in the order in which that is undone."""

    task_id = serializers.CharField()
    name = serializers.CharField()
    step = serializers.IntegerField(help_text="Counts from 1; those of one step are undone side by side.")
    undo = serializers.BooleanField(help_text="False: the task has no `compensate` and is passed over.")
    items = serializers.IntegerField(
        allow_null=True, help_text="Of a task with `foreach`: how many of its items have done something."
    )
    maybe_executed = serializers.BooleanField(help_text="An attempt of it had no definite answer.")
    status = serializers.ChoiceField(choices=RunStatus.choices, allow_null=True)
    attempt = serializers.IntegerField()
    error_message = serializers.CharField()


class Compensation(serializers.Serializer):
    instance_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TransactionStatus.choices)
    compensation = serializers.ChoiceField(choices=CompensationStatus.choices)
    request = RequestEntry(required=False, help_text="There while one awaits a second person (the four-eyes rule).")
    tasks = UndoEntry(many=True)


class ItemCounts(serializers.Serializer):
    """How many items of a task with `foreach` stand how; `pending` are also those that have not begun."""

    total = serializers.IntegerField()
    pending = serializers.IntegerField()
    running = serializers.IntegerField()
    waiting = serializers.IntegerField()
    success = serializers.IntegerField()
    failed = serializers.IntegerField()
    skipped = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class ParentEntry(serializers.Serializer):
    """The task run that started a transaction."""

    instance_id = serializers.CharField()
    task_id = serializers.CharField()
    op = serializers.CharField()
    item = serializers.IntegerField(help_text="-1 for a task without `foreach`.")


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
    items = ItemCounts(required=False, help_text="Only of a task with `foreach` that has begun.")
    child = serializers.CharField(required=False, help_text="Only of a subflow: the instance_id that it started.")


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
        fields = (*BRIEF, "params", "parent", "rerun_of", "rerun_as", "tasks")

    parent = ParentEntry(allow_null=True)
    rerun_of = serializers.CharField(allow_null=True, help_text="What it is run again of, by its instance_id.")
    rerun_as = serializers.CharField(allow_null=True, help_text="As what it was run again: it goes on there.")
    tasks = TaskEntry(many=True)


class Kin(NamedTuple):
    """What a transaction has to do with others, and with the items of its tasks; most have nothing of it.

    `items` and `children` by task; `parent` as in ParentEntry.
    """

    items: Mapping[str, dict[str, int]] = MappingProxyType({})
    children: Mapping[str, str] = MappingProxyType({})
    parent: dict[str, Any] | None = None


ALONE = Kin()


def shown(
    row: Any, *, params: Any, definition: FlowDefinition, runs: Iterable[dict[str, Any]], kin: Kin = ALONE
) -> dict[str, Any]:
    """What `FullTransaction` describes, written by hand: it is asked for most. `runs`: rows of RUN_COLUMNS."""
    return {
        "instance_id": row.instance_id,
        "flow_id": row.flow_id,
        "flow_name": row.flow_name,
        "flow_version": row.flow_version,
        "status": row.status,
        "compensation": row.compensation,
        "cancelling": row.cancelling,
        "paused": row.paused,
        "created_by": row.created_by,
        "created_at": wire_time(row.created_at),
        "started_at": wire_time(row.started_at),
        "completed_at": wire_time(row.completed_at),
        "duration": duration(row),
        "params": params,
        "parent": kin.parent,
        "rerun_of": row.rerun_of,
        "rerun_as": row.rerun_as,
        "tasks": entries(row, definition=definition, runs=runs, kin=kin),
    }


def entries(
    txn: Any, *, definition: FlowDefinition, runs: Iterable[dict[str, Any]], kin: Kin = ALONE
) -> list[dict[str, Any]]:
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
    shown = [
        entry(found.get(task.id, blank), task_id=task.id, name=task.name, instance_id=txn.instance_id)
        for task in definition.tasks.values()
    ]
    if kin.items or kin.children:
        for each in shown:
            each |= _kin_of(each["task_id"], kin=kin)
    return shown


def _kin_of(task_id: str, *, kin: Kin) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if task_id in kin.items:
        found["items"] = kin.items[task_id]
    if task_id in kin.children:
        found["child"] = kin.children[task_id]
    return found


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
