"""Flows as a worker holds them: their definitions, with what is the same for all calls of a task worked out once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple

import orjson

from dist_task.conf import conf
from dist_task.executors import threads
from dist_task.executors.base import Executor, executors
from dist_task.executors.secrets import places
from flows.definition import FlowDefinition, TaskSpec
from flows.filling import Values
from flows.templates import Template

from .compensate import Backwards, backwards
from .slots import Slots

NO_VALUES = Values("")
MOST_FLOWS = 500
MOST_TOLD = 32


class Step(NamedTuple):
    """`executor` is None where no executor of this worker runs such tasks; `target` is what its caps count."""

    spec: TaskSpec
    executor: Executor | None
    target: str
    blocks: bool  # its calls are made in threads
    is_trusted: bool  # see Executor
    is_harmless: bool  # see Executor
    reachable: Callable[[Any], Any]  # see Executor
    needs: frozenset[str]  # the tasks whose outputs its templates look at
    constant_config: Mapping[str, Any] | None  # None where it has templates
    config_secrets: Mapping[Any, frozenset[str]]  # the places of its config that name secrets, and which
    is_plain: bool  # nothing but its parameters has to be known before it begins
    is_fan: bool = False  # it is run for each item of a list
    most: int | None = None  # of its items at once


class LoadedFlow(NamedTuple):
    """`opening`: how a claim begins the first tasks, as JSON; None where only Python can tell what they are given."""

    definition: FlowDefinition
    steps: Mapping[str, Step]
    undo_steps: Mapping[str, Step]  # of the compensations, by the task that each undoes
    backwards: Backwards
    wanted: frozenset[str]  # the tasks whose outputs others look at
    targets: Mapping[str, int]  # of the first tasks: how many calls each
    opening: bytes | None

    def room_to_open(self, slots: Slots) -> int:
        """How many transactions may begin all their first tasks now."""
        return min(slots.room(target) // count for target, count in self.targets.items())


def load(definition: FlowDefinition) -> LoadedFlow:
    steps = {task_id: _step(spec) for task_id, spec in definition.tasks.items()}
    roots = [steps[task_id] for task_id in definition.roots]
    return LoadedFlow(
        definition=definition,
        steps=steps,
        undo_steps={
            spec.id: _undo_step(spec, spec.compensate) for spec in definition.tasks.values() if spec.compensate
        },
        backwards=backwards(definition),
        wanted=frozenset().union(*(step.needs for step in steps.values())),
        targets=Counter(root.target for root in roots),
        opening=None if definition.timeout_seconds else _opening([root.spec for root in roots]),
    )


class Shelf:
    """The flows that a worker has met, those that it met last at the end."""

    def __init__(self) -> None:
        self._flows: dict[str, LoadedFlow] = {}

    def lacks(self, flow_ids: Iterable[str]) -> list[str]:
        return sorted(set(flow_ids) - self._flows.keys())

    def put(self, flow_id: str, *, flow: LoadedFlow) -> None:
        if len(self._flows) >= MOST_FLOWS:
            del self._flows[next(iter(self._flows))]
        self._flows[flow_id] = flow

    def take(self, flow_id: str) -> LoadedFlow:
        """Raises LookupError for one whose definition could not be read."""
        if flow_id not in self._flows:
            raise LookupError(f"the definition of flow {flow_id} cannot be read")
        flow = self._flows[flow_id] = self._flows.pop(flow_id)
        return flow

    def openings(self, *, slots: Slots) -> bytes:
        """What a claim is told of the flows met last (see claims.CLAIM): flow id to roots and how many may begin."""
        told: dict[str, Any] = {}
        for flow_id, flow in islice(reversed(self._flows.items()), MOST_TOLD):
            if flow.opening is not None and (most := flow.room_to_open(slots)) > 0:
                told[flow_id] = {"most": most, "roots": orjson.Fragment(flow.opening)}
        return orjson.dumps(told)


def _step(spec: TaskSpec) -> Step:
    executor = executors().get(spec.type)
    template = spec.config_template
    return Step(
        spec,
        executor=executor,
        target=executor.target(spec.config) if executor else "",
        blocks=threads.blocks(executor) if executor else False,
        is_trusted=getattr(executor, "is_trusted", executor is None),
        is_harmless=getattr(executor, "is_harmless", False),
        reachable=getattr(executor, "reachable", _as_it_is),
        needs=spec.needs,
        constant_config=template.fill(NO_VALUES) if _is_constant(template) else None,
        config_secrets={place: frozenset(names) for place, names in places(spec.config)},
        is_plain=not (spec.needs or spec.when or spec.foreach or spec.total_seconds),
        is_fan=spec.foreach is not None,
        most=spec.max_parallel,
    )


def _undo_step(spec: TaskSpec, undo: TaskSpec) -> Step:
    """Items are undone one by one, as they were done."""
    return _step(undo)._replace(is_fan=spec.foreach is not None, most=spec.max_parallel)


def _needs_python(root: TaskSpec) -> bool:
    return bool(root.inputs or root.input or root.when or root.foreach or root.total_seconds)


def _is_constant(template: Template) -> bool:
    """Secrets are the executor's to fill in."""
    return template.is_constant or template.count == len(template.secrets)


def _as_it_is(output: Any) -> Any:
    return output


def _opening(roots: list[TaskSpec]) -> bytes | None:
    """None where Python is needed, and for a wide opening, which would fill the caps of its transaction."""
    if not 0 < len(roots) <= conf.SLOTS_PER_TRANSACTION or any(map(_needs_python, roots)):
        return None
    return orjson.dumps(
        [{"task_id": root.id, "task_name": root.task_name or None, "budget": root.retry.tries} for root in roots]
    )
