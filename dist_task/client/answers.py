"""What goes out and what comes back, as values. Members that a newer service adds are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

FINAL = frozenset({"success", "failed", "cancelled"})

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Start:
    """A transaction to start. The same `instance_id` again, with the same flow and params, is the same transaction."""

    instance_id: str
    flow_id: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Started:
    instance_id: str
    flow_id: str
    status: str


@dataclass(frozen=True, slots=True)
class MovedTransaction:
    instance_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the flow, as it stands in a transaction. `id` is `{instance_id}_{task_id}`.

    `items`: of one with `foreach` that has begun, how many of its items stand how (`total`, `success`, ...). `child`:
    of a subflow, the instance_id of the transaction that it started.
    """

    id: str
    name: str
    status: str
    task_id: str
    attempt: int
    error_code: str
    error_message: str
    due_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    items: Mapping[str, int] | None = None
    child: str = ""


@dataclass(frozen=True, slots=True)
class Transaction:
    """`duration`: seconds from created to completed."""

    instance_id: str
    flow_id: str
    flow_name: str
    flow_version: int
    status: str
    compensation: str
    cancelling: bool
    paused: bool
    created_by: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    duration: float | None
    params: Mapping[str, Any]
    tasks: tuple[Task, ...]
    parent: Mapping[str, Any] | None = None  # instance_id, task_id, op and item of what started it
    rerun_of: str | None = None
    rerun_as: str | None = None  # it goes on there

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True, slots=True)
class ExceptionRecord:
    """A failure that somebody may have to look at. `task_id` is `{instance_id}_{task}`."""

    id: int
    task_id: str
    task_name: str
    error_message: str
    handled: bool
    status: str
    instance_id: str
    flow_id: str
    task: str
    op: str
    item: int
    error_code: str
    outcome: str
    occurrences: int
    retry_next_at: datetime | None
    opened_at: datetime
    last_at: datetime
    handled_at: datetime | None
    handled_by: str
    resolution: str
    remark: str
    assignee: str


@dataclass(frozen=True, slots=True)
class Comment:
    at: datetime
    actor: str
    remark: str


@dataclass(frozen=True, slots=True)
class CommentedException(ExceptionRecord):
    """With the newest hundred comments, the oldest of them first."""

    comments: tuple[Comment, ...]


@dataclass(frozen=True, slots=True)
class RerunTransaction:
    """The new one."""

    instance_id: str
    flow_id: str
    status: str
    rerun_of: str


@dataclass(frozen=True, slots=True)
class PausedTransaction:
    instance_id: str
    status: str
    paused: bool


@dataclass(frozen=True, slots=True)
class SettledException:
    """What became of an exception whose task was skipped or completed. `status`: of the transaction."""

    exception_id: int
    handled: bool
    resolution: str
    task_status: str
    instance_id: str
    status: str


@dataclass(frozen=True, slots=True)
class AssignedException:
    exception_id: int
    assignee: str


@dataclass(frozen=True, slots=True)
class HandledException:
    exception_id: int
    handled: bool
    resolution: str


@dataclass(frozen=True, slots=True)
class ScheduledRetry:
    exception_id: int
    retry_scheduled: bool
    retry_next_at: datetime | None


def read(kind: type[Value], data: Mapping[str, Any]) -> Value:
    """The members that `kind` names; times end in `_at`. Raises KeyError where one is missing that has no default."""
    named = [each for each in fields(kind) if each.name in data or each.default is MISSING]  # type: ignore[arg-type]
    return kind(**{each.name: _value(each.name, data[each.name]) for each in named})


def _value(name: str, value: Any) -> Any:
    if (name.endswith("_at") or name == "at") and value is not None:
        return datetime.fromisoformat(value)
    if name == "tasks":
        return tuple(read(Task, task) for task in value)
    if name == "comments":
        return tuple(read(Comment, comment) for comment in value)
    return value
