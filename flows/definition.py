"""A flow's definition: read from JSON, checked as a whole, and turned into a graph of tasks. Pure.

Every problem is reported at once, with its path; nothing that is not understood is passed over in silence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from django.utils.translation import gettext_noop as _

from dist_task.payload import CONTROL, UNSTORABLE, report_faults
from dist_task.problems import InvalidValue, Problem, Problems
from flows.graph import Ancestry, dependents_of, find_cycle, topological_order
from flows.hints import with_hints
from flows.params_schema import ParamsSchema
from flows.reader import Reader
from flows.source import ROOT, read_object, write_text
from flows.task_calls import (
    NO_CHECKS,
    NO_EXAMPLES,
    NO_KEYS,
    Examples,
    FixedKeys,
    InputChecks,
    Kinds,
    Known,
    Registry,
)
from flows.task_spec import SUBFLOW, TaskSpec
from flows.tasks import LONGEST_DESCRIPTION, LONGEST_NAME, read_tasks, read_total_timeout, sketch_tasks

__all__ = ["FlowDefinition", "InvalidDefinition", "Problem", "TaskSpec", "to_text"]

MOST_TASKS = 10_000
MOST_DEPTH = 50
SHOWN_OF_CYCLE = 10
FLOW_KEYS = frozenset(("name", "description", "tasks", "on_failure", "params_schema", "timeout"))
ON_FAILURE = ("wait", "compensate")


class InvalidDefinition(InvalidValue):
    """A definition that cannot be run; `problems` says everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    name: str
    description: str
    on_failure: str  # of ON_FAILURE: whether a person decides, or what was done is undone at once
    timeout_seconds: float | None  # for the forward work of a transaction, from its first attempt on
    params_schema: ParamsSchema | None  # of the params that a start brings
    tasks: Mapping[str, TaskSpec]  # as written
    dependents: Mapping[str, tuple[str, ...]]
    fan_in: Mapping[str, int]  # how many each task waits for
    roots: tuple[str, ...]
    order: tuple[str, ...]  # dependencies first
    fans: tuple[str, ...]  # the tasks that are run for each item of a list
    has_subflows: bool

    @classmethod
    def parse(
        cls,
        data: str | bytes | dict[str, Any],
        *,
        registry: Registry,
        kinds: Kinds,
        fixed_keys: FixedKeys = NO_KEYS,
        examples: Examples = NO_EXAMPLES,
        input_checks: InputChecks = NO_CHECKS,
    ) -> Self:
        """The definition, or InvalidDefinition with every problem. The caller caps the size of the text."""
        problems = Problems(root=ROOT)
        value = read_object(data, problems=problems)
        if value is not None and _is_bounded(value, problems=problems):
            block = Reader(value, "", problems)
            name, description, on_failure = _read_head(block)
            schema = _read_schema(block)
            timeout_seconds = read_total_timeout(block, "timeout")
            sketches = sketch_tasks(block)
            depends_on = {sketch.id: sketch.depends_on for sketch in sketches if sketch.id}
            dependents = dependents_of(depends_on)
            order = topological_order(depends_on, dependents=dependents)
            _report_cycle(find_cycle(depends_on, order=order), block=block)
            ancestry = Ancestry(depends_on, order=order)
            known = Known(registry, kinds, fixed_keys, examples, depends_on, ancestry, {}, input_checks)
            tasks = read_tasks(sketches, known=known, problems=problems)
        if len(problems):
            raise InvalidDefinition(with_hints(problems.report()))
        return cls(
            name=name,
            description=description,
            on_failure=on_failure,
            timeout_seconds=timeout_seconds,
            params_schema=schema,
            tasks=MappingProxyType({task.id: task for task in tasks}),
            dependents=MappingProxyType(dependents),
            fan_in=MappingProxyType({task.id: len(task.depends_on) for task in tasks}),
            roots=tuple(task.id for task in tasks if not task.depends_on),
            order=order,
            fans=tuple(task.id for task in tasks if task.foreach),
            has_subflows=any(task.type == SUBFLOW for task in tasks),
        )

    @property
    def task_names(self) -> frozenset[str]:
        """The names of the registry that this definition refers to."""
        undoing = (task.compensate for task in self.tasks.values() if task.compensate)
        return frozenset(task.task_name for task in (*self.tasks.values(), *undoing) if task.task_name)


def to_text(data: dict[str, Any]) -> str:
    """The text of a definition that was posted as an object: compact, keys in the order given."""
    problems = Problems(root=ROOT)
    try:
        return write_text(data)
    except RecursionError:
        problems.add(ROOT, _("is nested too deeply"))
    except (TypeError, ValueError):
        problems.add(ROOT, _("is not JSON"))
    raise InvalidDefinition(with_hints(problems.report()))


def _is_bounded(value: Mapping[str, Any], *, problems: Problems) -> bool:
    """Whether it is worth looking at the tasks; reports what no part of a definition may have."""
    tasks = value.get("tasks")
    if isinstance(tasks, list) and len(tasks) > MOST_TASKS:
        message = _("has %(count)d tasks; a flow may have %(most)d")
        problems.add("tasks", message, hint=_("split it into several flows"), count=len(tasks), most=MOST_TASKS)
        return False
    prose = {"description": value.get("description", "")}
    rest = {key: child for key, child in value.items() if key != "description"}
    report_faults(prose, path="", problems=problems, most_depth=MOST_DEPTH, forbidden=UNSTORABLE)
    report_faults(rest, path="", problems=problems, most_depth=MOST_DEPTH, forbidden=CONTROL)
    return True


def _read_head(block: Reader) -> tuple[str, str, str]:
    """Name, description and on_failure."""
    block.refuse_other_keys(known=FLOW_KEYS)
    on_failure = block.choice("on_failure", choices=ON_FAILURE, default="wait")
    if "tasks" not in block.data:
        block.refuse("tasks", _("is required"))
    name = block.text("name", longest=LONGEST_NAME)
    return name, block.text("description", longest=LONGEST_DESCRIPTION), on_failure


def _read_schema(block: Reader) -> ParamsSchema | None:
    if "params_schema" not in block.data:
        return None
    return ParamsSchema.read(block.data["params_schema"], path="params_schema", problems=block.problems)


def _report_cycle(cycle: tuple[str, ...], *, block: Reader) -> None:
    if not cycle:
        return
    names = cycle if len(cycle) <= SHOWN_OF_CYCLE else (*cycle[: SHOWN_OF_CYCLE - 2], "…", cycle[-1])
    message = _("the tasks depend on each other in a circle: %(cycle)s")
    hint = _("leave one of them out of depends_on")
    block.refuse("tasks", message, hint=hint, cycle=" -> ".join(names))
