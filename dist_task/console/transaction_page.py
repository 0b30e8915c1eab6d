"""Everything that the page of one transaction shows, in a bounded number of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import BooleanField, CharField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dist_task.console.curl import read_command, start_command
from dist_task.console.display import ago, list_url
from dist_task.console.graph import Graph, Mark, draw
from dist_task.console.kin import kin_of
from dist_task.console.panel import Key, Panel, address, asked_for, most_telling, panel_of
from dist_task.console.standing import explain, surroundings
from dist_task.console.task_rows import TaskRow, counts, task_rows, telling, unbegun
from dist_task.console.timeline import Line, Step, Timeline, timeline
from dist_task.executors.base import trace_id
from dist_task.models import ExecutionLog, TaskRun
from dist_task.states import ExceptionStatus, Op, RunStatus, WaitsFor
from exceptions_app.models import ExceptionRecord
from flows.definition import FlowDefinition, InvalidDefinition
from flows.models import Flow
from flows.registry_rows import load
from transactions.models import Transaction

MOST_TASKS = 60
MOST_BESIDE_GRAPH = 20
MOST_RUNS = 5_000
MOST_ENTRIES = 500
MOST_LOG = 20
MOST_OPERATIONS = 20
MOST_EXCEPTIONS, MOST_COUNTED = 10, 500
LONGEST_HEAD = 300
MACHINES = frozenset({"", "system"})


def page(txn: Transaction, *, request: HttpRequest) -> dict[str, Any]:
    around = surroundings([txn.owner])
    definition = definition_of(txn.flow)
    runs, entries = list(runs_of(txn)), list(entries_of(txn))
    exceptions = _exceptions(txn)
    panel = _panel(txn, runs=runs, definition=definition, query=request.GET)
    rows = task_rows(txn, runs=runs, definition=definition, now=around.now, selected=panel.key if panel else None)
    graph = _graph(definition, rows=rows, selected=panel.key if panel else None)
    most = MOST_BESIDE_GRAPH if graph and len(rows) > MOST_BESIDE_GRAPH else MOST_TASKS
    may_see_exceptions = request.user.has_perm("exceptions_app.view_exceptionrecord")
    open_ones = sum(record.status == ExceptionStatus.OPEN for record in exceptions)
    approvals = [run for run in runs if run.status == RunStatus.WAITING and run.waits_for == WaitsFor.APPROVAL]
    return {
        "txn": txn,
        "kin": kin_of(
            txn,
            rerun_as_id=getattr(txn, "rerun_as_id", None),
            may_have_children=definition is None or definition.has_subflows,
        ),
        "children_url": list_url(Transaction, query=urlencode({"parent": txn.instance_id})),
        "reason": explain(txn, around=around, runs=runs, open_exceptions=open_ones, definition=definition),
        "tasks": telling(rows, most=most),
        "tasks_left_out": max(0, len(rows) - most),
        "counts": counts(rows),
        "graph": graph,
        "has_definition": definition is not None,
        "timeline": _timeline(txn, rows=rows, entries=entries, definition=definition, now=around.now),
        "panel": panel,
        "operations": [entry for entry in entries if entry.actor not in MACHINES][-MOST_OPERATIONS:],
        "log": entries[-MOST_LOG:],
        "log_is_cut": len(entries) > MOST_LOG,
        "log_url": list_url(ExecutionLog, query=f"transaction={txn.pk}"),
        "exceptions": exceptions[:MOST_EXCEPTIONS] if may_see_exceptions else [],
        "panel_exception": _unhandled_of(panel, exceptions=exceptions) if may_see_exceptions else None,
        "waits_for_approval": any(not getattr(run, "is_answered", False) for run in approvals),
        "duration": ago(txn.created_at, now=txn.completed_at or around.now),
        "trace_id": trace_id(txn.instance_id),
        "live_facts": _live_facts(txn, runs=runs, entries=entries),
        **_commands(txn, request=request),
    }


def _live_facts(txn: Transaction, *, runs: Sequence[TaskRun], entries: Sequence[ExecutionLog]) -> list[object]:
    """As `live.OF_TRANSACTION` reads them."""
    begun = max((run.started_at for run in runs if run.started_at), default=None)
    own = [txn.revision, txn.status, txn.compensation, txn.owner, txn.wake_at, txn.cancelling]
    return [*own, entries[-1].pk if entries else None, begun]


def definition_of(flow: Flow) -> FlowDefinition | None:
    try:
        return load(flow)
    except InvalidDefinition:  # an executor that was taken away since; its runs are shown all the same
        return None


def runs_of(txn: Transaction) -> QuerySet[TaskRun]:
    """Without what they were given and gave, which may be megabytes."""
    heavy = ("input", "output", "answer", "error_message")
    head = Left("error_message", LONGEST_HEAD, output_field=CharField())
    answered = ExpressionWrapper(Q(answer__isnull=False), output_field=BooleanField())
    rows = TaskRun.objects.filter(transaction=txn).order_by("id").defer(*heavy)
    return rows.annotate(error_head=head, is_answered=answered)[:MOST_RUNS]


def entries_of(txn: Transaction) -> Sequence[ExecutionLog]:
    """The newest ones, oldest first, without requests and responses."""
    head = Left("message", LONGEST_HEAD, output_field=CharField())
    rows = ExecutionLog.objects.filter(transaction=txn).defer("request", "response", "message").annotate(head=head)
    return list(rows.order_by("-id")[:MOST_ENTRIES])[::-1]


def _exceptions(txn: Transaction) -> list[ExceptionRecord]:
    """The open ones first, otherwise the newest."""
    head = Left("error_message", LONGEST_HEAD, output_field=CharField())
    rows = ExceptionRecord.objects.filter(transaction=txn).defer("error_message").annotate(error_head=head)
    found = list(rows.order_by("-id")[:MOST_COUNTED])
    return sorted(found, key=lambda record: record.status != ExceptionStatus.OPEN)


def _panel(txn: Transaction, *, runs: Sequence[TaskRun], definition: FlowDefinition | None, query: Any) -> Panel | None:
    asked = asked_for(query)
    found = panel_of(txn, key=asked, definition=definition, word=unbegun(txn)) if asked else None
    if found is None and (key := most_telling(runs, definition=definition)):
        return panel_of(txn, key=key, definition=definition, word=unbegun(txn))
    return found


def _unhandled_of(panel: Panel | None, *, exceptions: Sequence[ExceptionRecord]) -> ExceptionRecord | None:
    run_id = panel.run.pk if panel and panel.run else None
    return next((record for record in exceptions if record.run_id == run_id and not record.handled), None)


def _graph(definition: FlowDefinition | None, *, rows: Sequence[TaskRow], selected: Key | None) -> Graph | None:
    if definition is None:
        return None
    marks: dict[str, Mark] = {}
    undoing: dict[str, Mark] = {}
    for row in rows:
        if row.run is not None and row.run.op == Op.COMPENSATE:
            undoing[row.task_id] = _mark(row)
        elif row.task_id not in marks:
            marks[row.task_id] = _mark(row)
    marks = {task_id: mark for task_id, mark in marks.items() if task_id in definition.tasks}
    return draw(
        definition,
        marks=marks,
        undoing={task_id: mark for task_id, mark in undoing.items() if task_id in definition.tasks},
        link=lambda task_id, op: address((task_id, op, -1)),
        selected=selected[:2] if selected else ("", ""),
    )


def _mark(row: TaskRow) -> Mark:
    run = row.run
    if run is None or run.started_at is None:
        return Mark(row.status, row.word)
    note = row.took if row.took != "–" else ""
    if run.attempt > 1 or run.status == RunStatus.PENDING:
        note = _("attempt %(n)d") % {"n": run.attempt}
    return Mark(row.status, row.word, note)


def _timeline(
    txn: Transaction,
    *,
    rows: Sequence[TaskRow],
    entries: Sequence[ExecutionLog],
    definition: FlowDefinition | None,
    now: datetime,
) -> Timeline:
    ended = {row.task_id: row.run.finished_at for row in rows if row.run and row.run.op == Op.ACTION}
    began_undoing = next((entry.at for entry in entries if entry.event == "compensating"), None)
    lines = [
        _line(row, run=row.run, txn=txn, ended=ended, definition=definition, began_undoing=began_undoing)
        for row in rows
        if row.run is not None
    ]
    steps = [
        Step(
            entry.task_id,
            entry.op,
            entry.item,
            entry.attempt,
            entry.event,
            str(entry.get_event_display()),
            entry.error_code,
            entry.started_at,
            entry.at,
        )
        for entry in entries
        if entry.task_id
    ]
    return timeline(lines, steps=steps, began_at=txn.created_at, ended_at=txn.completed_at or now, now=now)


def _line(
    row: TaskRow,
    *,
    run: TaskRun,
    txn: Transaction,
    ended: Mapping[str, datetime | None],
    definition: FlowDefinition | None,
    began_undoing: datetime | None,
) -> Line:
    """A task's turn comes when the last that it depends on has ended; that of a compensation when undoing begins."""
    spec = definition.tasks.get(row.task_id) if definition else None
    before = [at for other in (spec.depends_on if spec else ()) if (at := ended.get(other))]
    ready_at = max(before, default=txn.created_at)
    if run.op == Op.COMPENSATE:
        ready_at = began_undoing or run.started_at or ready_at
    if run.started_at is not None:
        ready_at = min(ready_at, run.started_at) if run.attempt <= 1 else ready_at
    return Line(
        key=(run.task_id, run.op, run.item),
        name=spec.name if spec else run.task_id,
        url=row.url,
        status=run.status,
        word=row.word,
        attempt=run.attempt,
        ready_at=ready_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        due_at=run.due_at,
    )


def _commands(txn: Transaction, *, request: HttpRequest) -> dict[str, str]:
    base = request.build_absolute_uri("/").rstrip("/")
    return {
        "read_command": read_command(base, instance_id=txn.instance_id),
        "start_command": start_command(base, flow_id=txn.flow_id, params=txn.params),
    }
