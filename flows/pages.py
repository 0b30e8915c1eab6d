"""What the page of a flow shows besides its form: versions, a drawing with what fails, the difference of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from dist_task.console.display import list_url, span
from dist_task.console.graph import Mark, draw
from flows.definition import FlowDefinition, InvalidDefinition, TaskSpec
from flows.difference import TooLarge, difference
from flows.models import Flow
from flows.registry_rows import load
from stats.heat import NEWEST, TaskHeat, heat
from transactions.models import Transaction

MOST_TASKS = 100
MOST_VERSIONS = 30
MOST_LINES = 600


@dataclass(frozen=True, slots=True)
class TaskLine:
    spec: TaskSpec
    heat: TaskHeat | None
    p95: str


def flow_page(flow: Flow) -> dict[str, Any]:
    found: dict[str, Any] = {
        "transactions_url": list_url(Transaction, query=urlencode({"flow": flow.pk})),
        "failed_url": list_url(Transaction, query=urlencode({"flow": flow.pk, "status": "failed"})),
        "versions": _versions(flow),
        "newest": NEWEST,
    }
    try:
        definition = load(flow)
    except InvalidDefinition as error:
        return {**found, "problems": [str(problem) for problem in error.problems]}
    fares = heat(flow.pk)
    tasks = list(definition.tasks.values())
    return {
        **found,
        "tasks": [_line(task, fares=fares) for task in tasks[:MOST_TASKS]],
        "tasks_left_out": max(0, len(tasks) - MOST_TASKS),
        "graph": draw(definition, marks=_marks(definition, fares=fares), link=lambda task_id, op: f"#task-{task_id}"),
        "has_heat": bool(fares),
    }


def _line(task: TaskSpec, *, fares: dict[str, TaskHeat]) -> TaskLine:
    found = fares.get(task.id)
    return TaskLine(task, found, span(found.p95) if found and found.p95 is not None else "–")


def _marks(definition: FlowDefinition, *, fares: dict[str, TaskHeat]) -> dict[str, Mark]:
    return {task.id: _mark(task, found=fares.get(task.id)) for task in definition.tasks.values()}


def _mark(task: TaskSpec, *, found: TaskHeat | None) -> Mark:
    if found is None:
        return Mark("plain", task.type)
    words = [span(found.p95)] if found.p95 is not None else []
    if found.failed:
        words.append(_("%(n)d in 100 fail") % {"n": round(found.failed_percent)})
    return Mark("plain", task.type, " · ".join(words), heat=found.degree)


def _versions(flow: Flow) -> list[tuple[Flow, str]]:
    """The newest first, each with the way to what it changed."""
    rows = list(
        Flow.objects.filter(name=flow.name)
        .defer("definition", "task_definitions")
        .order_by("-version")[: MOST_VERSIONS + 1]
    )
    older = [*rows[1:], None]
    return [
        (row, _difference_url(before, row) if before else "")
        for row, before in zip(rows[:MOST_VERSIONS], older, strict=False)
    ]


def _difference_url(before: Flow, after: Flow) -> str:
    return f"{reverse('admin:flow_difference', args=(after.pk,))}?{urlencode({'from': before.pk})}"


def difference_page(flow: Flow, *, other: Flow) -> dict[str, Any]:
    """From `other` to `flow`."""
    siblings = Flow.objects.filter(name=flow.name).only("name", "version").order_by("-version")[:MOST_VERSIONS]
    found = {
        "flow": flow,
        "other": other,
        "choices": [(each, _difference_url(each, flow)) for each in siblings if each.pk != flow.pk],
        "lines": [],
        "is_cut": False,
        "is_too_large": False,
    }
    try:
        lines = difference(other.definition, flow.definition)
    except TooLarge:
        return {**found, "is_too_large": True}
    return {**found, "lines": lines[:MOST_LINES], "is_cut": len(lines) > MOST_LINES}
