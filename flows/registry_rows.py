"""Between the registry's rows, what a flow pins of them, and the pure values that a definition is parsed with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any

from django.utils.translation import gettext

from dist_task.executors.base import executors, input_check_of
from dist_task.payload import UNSTORABLE
from dist_task.problems import Fault, shown

from .connection_rows import learn_connections
from .definition import FlowDefinition
from .fields import parse_fields
from .models import Flow, TaskDefinition
from .params_schema import ParamsSchema
from .registry import RegisteredTask
from .task_spec import SUBFLOW

Snapshot = dict[str, dict[str, Any]]


def snapshot(names: Iterable[str]) -> Snapshot:
    """What a flow pins: the entries that its definition names, as they are now."""
    rows = TaskDefinition.objects.filter(name__in=set(names)).order_by("name")
    return {
        row.name: {
            "type": row.type,
            "description": row.description,
            "config": row.config,
            "inputs": row.inputs,
        }
        for row in rows
    }


def registered(pinned: Snapshot) -> Mapping[str, RegisteredTask]:
    return {
        name: RegisteredTask(
            name=name,
            type=entry["type"],
            description=entry["description"],
            config=entry["config"],
            inputs=parse_fields(entry["inputs"])[0],
        )
        for name, entry in pinned.items()
    }


def parse(definition: str | dict[str, Any], *, pinned: Snapshot) -> FlowDefinition:
    """Raises InvalidDefinition with every problem."""
    learn_connections()
    kinds = {kind: executor.check_config for kind, executor in executors().items()}
    if SUBFLOW in kinds:
        kinds[SUBFLOW] = partial(_subflow_problems, check=kinds[SUBFLOW])
    return FlowDefinition.parse(
        definition,
        registry=registered(pinned),
        kinds=kinds,
        fixed_keys=_fixed_keys(),
        examples={kind: getattr(executor, "examples", {}) for kind, executor in executors().items()},
        input_checks={kind: check for kind, executor in executors().items() if (check := input_check_of(executor))},
    )


def parse_stored(definition: str, *, pinned: Snapshot) -> FlowDefinition:
    """A definition that was checked when it was posted: what a deployment allows today is the executor's to say."""
    kinds = dict.fromkeys(executors(), _unchecked)
    return FlowDefinition.parse(definition, registry=registered(pinned), kinds=kinds)


def _subflow_problems(config: Mapping[str, Any], *, check: Callable[[Mapping[str, Any]], list[str]]) -> list[str]:
    """What is wrong with it, and whether the flow is there: a flow is posted after those that it starts."""
    if problems := check(config):
        return problems
    (key, value) = next(iter(config.items()))
    named = {"pk": value} if key == "flow_id" else {"name": value}
    if not UNSTORABLE.search(value) and Flow.objects.visible().filter(is_active=True, **named).exists():
        return []
    message = gettext("there is no active flow %(flow)s") % {"flow": shown(value)}
    return [Fault(message, key=key, hint=gettext("register it before the flow that starts it"))]


def _fixed_keys() -> dict[str, frozenset[str]]:
    return {kind: getattr(executor, "fixed_keys", frozenset()) for kind, executor in executors().items()}


def _unchecked(config: Mapping[str, Any]) -> list[str]:
    return []


@lru_cache(maxsize=256)
def _parsed(flow_id: str) -> FlowDefinition:
    flow = Flow.objects.only("definition", "task_definitions").get(pk=flow_id)
    return parse_stored(flow.definition, pinned=flow.task_definitions)


def load(flow: Flow) -> FlowDefinition:
    """The parsed definition; a flow row never changes its definition, so it is kept by id."""
    return _parsed(flow.pk)


@lru_cache(maxsize=10_000)
def params_schema_of(flow_id: str) -> ParamsSchema | None:
    """What every start asks, of many more flows than are kept parsed. Raises Flow.DoesNotExist."""
    return _parsed(flow_id).params_schema
