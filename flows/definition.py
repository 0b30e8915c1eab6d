"""A flow's definition: read from JSON, checked as a whole, and turned into a graph of tasks. Pure.

Every problem is reported at once, with its path; nothing that is not understood is passed over in silence.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from django.utils.translation import gettext_noop as _

from dist_task.payload import CONTROL, UNSTORABLE, keys_of, report_faults, strings
from dist_task.problems import InvalidValue, Problem, Problems, child_path, shown
from flows.fields import Field
from flows.graph import dependents_of, find_cycle, topological_order
from flows.reader import Reader
from flows.registry import RegisteredTask
from flows.retry import RetryPolicy
from flows.source import ROOT, read_object, write_text

__all__ = ["FlowDefinition", "InvalidDefinition", "Problem", "TaskSpec", "to_text"]

MOST_TASKS = 10_000
MOST_DEPTH = 50
LONGEST_NAME = 200
LONGEST_DESCRIPTION = 10_000
LONGEST_TASK_NAME = 64
DEFAULT_TIMEOUT = 30
LEAST_TIMEOUT, MOST_TIMEOUT = 0.001, 86_400
SHOWN_OF_CYCLE = 10
TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
FLOW_KEYS = frozenset(("name", "description", "tasks", "on_failure"))
LATER_FLOW_KEYS = frozenset(("timeout", "params_schema"))
TASK_KEYS = frozenset(
    (
        "id",
        "name",
        "task_name",
        "description",
        "type",
        "depends_on",
        "config",
        "timeout",
        "retry",
        "optional",
        "compensate",
    )
)
LATER_TASK_KEYS = frozenset(("input", "input_from", "output", "when", "foreach", "max_parallel", "total_timeout"))
COMPENSATE_KEYS = frozenset(("task_name", "type", "config", "timeout", "retry"))
ON_FAILURE = ("wait", "compensate")
UNDO_RETRY = RetryPolicy(strategy="auto", max_attempts=10, interval=10, backoff="exponential", max_interval=600)
"""Of a compensation that says nothing else: longer than most outages, over an hour in all."""
# The type that a config gives away, where neither the task nor the registry names one.
TYPE_OF_KEYS = (
    ("rpc", ("service", "method")),
    ("mq", ("topic",)),
    ("http", ("url",)),
    ("db", ("operation", "table")),
)

Registry = Mapping[str, RegisteredTask]
Kinds = Mapping[str, Callable[[Mapping[str, Any]], list[str]]]


class InvalidDefinition(InvalidValue):
    """A definition that cannot be run; `problems` says everything that is wrong with it."""


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A node of a flow."""

    id: str
    name: str  # the one shown to people
    task_name: str  # of the registry; "" where the task says none
    description: str
    type: str
    depends_on: tuple[str, ...]
    config: Mapping[str, Any]
    retry: RetryPolicy
    timeout_seconds: float
    optional: bool
    inputs: tuple[Field, ...]
    compensate: "TaskSpec | None" = None  # what undoes it: another task of the same id, which nothing depends on


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    name: str
    description: str
    on_failure: str  # of ON_FAILURE: whether a person decides, or what was done is undone at once
    tasks: Mapping[str, TaskSpec]  # as written
    dependents: Mapping[str, tuple[str, ...]]
    fan_in: Mapping[str, int]  # how many each task waits for
    roots: tuple[str, ...]
    order: tuple[str, ...]  # dependencies first

    @classmethod
    def parse(cls, data: str | bytes | dict[str, Any], *, registry: Registry, kinds: Kinds) -> Self:
        """The definition, or InvalidDefinition with every problem. The caller caps the size of the text."""
        problems = Problems(root=ROOT)
        value = read_object(data, problems=problems)
        if value is not None and _is_bounded(value, problems=problems):
            block = Reader(value, "", problems)
            name, description, on_failure = _read_head(block)
            tasks = _read_tasks(block, registry=registry, kinds=kinds)
            depends_on = {task.id: task.depends_on for task in tasks}
            dependents = dependents_of(depends_on)
            order = topological_order(depends_on, dependents=dependents)
            _report_cycle(find_cycle(depends_on, order=order), block=block)
        if len(problems):
            raise InvalidDefinition(problems.report())
        return cls(
            name=name,
            description=description,
            on_failure=on_failure,
            tasks=MappingProxyType({task.id: task for task in tasks}),
            dependents=MappingProxyType(dependents),
            fan_in=MappingProxyType({task.id: len(task.depends_on) for task in tasks}),
            roots=tuple(task.id for task in tasks if not task.depends_on),
            order=order,
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
    raise InvalidDefinition(problems.report())


def _is_bounded(value: Mapping[str, Any], *, problems: Problems) -> bool:
    """Whether it is worth looking at the tasks; reports what no part of a definition may have."""
    tasks = value.get("tasks")
    if isinstance(tasks, list) and len(tasks) > MOST_TASKS:
        message = _("has %(count)d tasks; a flow may have %(most)d")
        problems.add("tasks", message, count=len(tasks), most=MOST_TASKS)
        return False
    prose = {"description": value.get("description", "")}
    rest = {key: child for key, child in value.items() if key != "description"}
    report_faults(prose, path="", problems=problems, most_depth=MOST_DEPTH, forbidden=UNSTORABLE)
    report_faults(rest, path="", problems=problems, most_depth=MOST_DEPTH, forbidden=CONTROL)
    return True


def _read_head(block: Reader) -> tuple[str, str, str]:
    """Name, description and on_failure."""
    block.refuse_other_keys(known=FLOW_KEYS, later=LATER_FLOW_KEYS)
    on_failure = block.choice("on_failure", choices=ON_FAILURE, default="wait")
    if "tasks" not in block.data:
        block.refuse("tasks", _("is required"))
    name = block.text("name", longest=LONGEST_NAME)
    return name, block.text("description", longest=LONGEST_DESCRIPTION), on_failure


# -- tasks --


@dataclass(frozen=True, slots=True)
class _Known:
    """What a task may refer to."""

    registry: Registry
    kinds: Kinds
    ids: Mapping[str, int]  # each with the place of the first task that has it


def _read_tasks(block: Reader, *, registry: Registry, kinds: Kinds) -> list[TaskSpec]:
    """The tasks that have an id of their own, with those of their dependencies that exist."""
    ids: dict[str, int] = {}
    known = _Known(registry, kinds, ids)
    readers: list[tuple[Reader, str]] = []
    for index, item in enumerate(block.items("tasks")):
        path = child_path("tasks", index)
        if isinstance(item, dict):
            reader = Reader(item, path, block.problems)
            readers.append((reader, _read_id(reader, index=index, ids=ids)))
        else:
            block.problems.add(path, _("must be an object"))
    specs = [_read_task(reader, task_id=task_id, known=known) for reader, task_id in readers]
    return [spec for spec in specs if spec.id]


def _read_id(block: Reader, *, index: int, ids: dict[str, int]) -> str:
    """The id, noted in `ids`; "" where the task has none of its own."""
    task_id = block.data.get("id")
    if task_id is None:
        block.refuse("id", _("is required"))
    elif not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        block.refuse("id", _("must be 1 to 64 letters, digits, _ or -, and not begin with -"))
    elif task_id in ids:
        message = _("%(id)s is the id of tasks[%(first)d] too")
        block.refuse("id", message, id=task_id, first=ids[task_id])
    else:
        ids[task_id] = index
        return task_id
    return ""


def _read_task(block: Reader, *, task_id: str, known: _Known) -> TaskSpec:
    block.refuse_other_keys(known=TASK_KEYS, later=LATER_TASK_KEYS)
    description = block.text("description", longest=LONGEST_DESCRIPTION)
    called = _read_called(block, known=known)
    name = _shown_name(block, description=description, entry=called.entry, task_id=task_id)
    timeout_seconds = _read_timeout(block, default=DEFAULT_TIMEOUT)
    return TaskSpec(
        id=task_id,
        name=name,
        task_name=called.task_name,
        description=description,
        type=called.type,
        depends_on=_read_dependencies(block, task_id=task_id, ids=known.ids),
        config=called.config,
        retry=_read_retry(block, default=RetryPolicy()),
        timeout_seconds=timeout_seconds,
        optional=block.flag("optional", default=False),
        inputs=called.entry.inputs if called.entry else (),
        compensate=_read_compensation(
            block, task_id=task_id, name=name, type=called.type, timeout_seconds=timeout_seconds, known=known
        ),
    )


class _Called(NamedTuple):
    """What a task, or its compensation, calls."""

    task_name: str
    entry: RegisteredTask | None
    type: str  # "" where it has none that is available here
    config: dict[str, Any]


def _read_called(block: Reader, *, known: _Known, default_type: str = "") -> _Called:
    task_name = block.text("task_name", longest=LONGEST_TASK_NAME)
    entry = known.registry.get(task_name) if task_name else None
    own_config = block.member("config")
    config = {**entry.config, **own_config} if entry else dict(own_config)
    kind = _read_type(block, entry=entry, config=config, known=known, default=default_type)
    _check_config(block, config=config, check=known.kinds.get(kind))
    return _Called(task_name, entry, kind, config)


def _read_timeout(block: Reader, *, default: float) -> float:
    return block.number("timeout", least=LEAST_TIMEOUT, most=MOST_TIMEOUT, default=default)


def _read_compensation(
    block: Reader, *, task_id: str, name: str, type: str, timeout_seconds: float, known: _Known
) -> TaskSpec | None:
    """It calls something of its own: nothing of the task's config is taken over. Its type is the task's by default."""
    if "compensate" not in block.data:
        return None
    undo = Reader(block.member("compensate"), child_path(block.path, "compensate"), block.problems)
    undo.refuse_other_keys(known=COMPENSATE_KEYS)
    called = _read_called(undo, known=known, default_type=type)
    return TaskSpec(
        id=task_id,
        name=name,
        task_name=called.task_name,
        description="",
        type=called.type,
        depends_on=(),
        config=called.config,
        retry=_read_retry(undo, default=UNDO_RETRY),
        timeout_seconds=_read_timeout(undo, default=timeout_seconds),
        optional=False,
        inputs=(),
    )


def _shown_name(block: Reader, *, description: str, entry: RegisteredTask | None, task_id: str) -> str:
    name = block.text("name", longest=LONGEST_NAME) or description
    if not name and entry:
        name = entry.description or entry.name
    return shown(name or task_id, length=LONGEST_NAME)


def _read_type(
    block: Reader, *, entry: RegisteredTask | None, config: Mapping[str, Any], known: _Known, default: str = ""
) -> str:
    """The type of the task; "" where it has none that is available here."""
    if "type" in block.data:
        kind, key = block.data["type"], "type"
        if not isinstance(kind, str):
            block.refuse("type", _("must be a string"))
            return ""
        if entry and kind != entry.type:
            message = _("is %(type)s, but the task definition %(task_name)s is of type %(registered)s")
            block.refuse("type", message, type=shown(kind), task_name=entry.name, registered=entry.type)
            return ""
    else:
        default = "" if "task_name" in block.data else default
        kind, key = entry.type if entry else _type_of_config(config) or default, "task_name" if entry else "type"
    if kind in known.kinds:
        return kind
    available = ", ".join(sorted(known.kinds))
    if kind:
        message = _("task type '%(type)s' is not available in this version; available: %(available)s")
        block.refuse(key, message, type=shown(kind), available=available)
    elif block.data.get("task_name"):
        message = _("%(task_name)s is not a registered task definition; without one, a type is required")
        block.refuse("task_name", message, task_name=block.quoted("task_name"))
    else:
        block.refuse("type", _("is required; available: %(available)s"), available=available)
    return ""


def _type_of_config(config: Mapping[str, Any]) -> str:
    for kind, keys in TYPE_OF_KEYS:
        if all(key in config for key in keys):
            return kind
    return ""


def _check_config(block: Reader, *, config: Mapping[str, Any], check: Callable[..., list[str]] | None) -> None:
    path = child_path(block.path, "config")
    templates = [link for link, text in strings(config) if "${" in text]
    for link in templates:
        message = _("templates ${...} are not supported by this version yet")
        block.problems.add_at(path, keys_of(link), message)
    if check and not templates:
        block.problems.extend(Problem(path, sentence) for sentence in check(config))


def _read_dependencies(block: Reader, *, task_id: str, ids: Mapping[str, int]) -> tuple[str, ...]:
    """Those that exist, each once, so that the graph can be looked at even where others are wrong."""
    named = block.items("depends_on")
    if _are_right(named, task_id=task_id, ids=ids):
        return tuple(named)
    needed: dict[str, None] = {}
    for index, other in enumerate(named):
        fault = ""
        if not isinstance(other, str):
            fault = _("must be the id of a task")
        elif other not in ids:
            fault = _("there is no task %(id)s")
        elif other == task_id:
            fault = _("the task %(id)s cannot depend on itself")
        elif other in needed:
            fault = _("%(id)s is named twice")
        else:
            needed[other] = None
        if fault:
            block.problems.add_at(block.path, ("depends_on", index), fault, id=shown(other))
    return tuple(needed)


def _are_right(named: list[Any], *, task_id: str, ids: Mapping[str, int]) -> bool:
    """Whether all of them are dependencies: sets are quick, and a mesh has a million edges."""
    try:
        distinct = set(named)
    except TypeError:
        return False
    return len(distinct) == len(named) and task_id not in distinct and distinct <= ids.keys()


def _read_retry(block: Reader, *, default: RetryPolicy) -> RetryPolicy:
    if "retry" not in block.data:
        return default
    if isinstance(data := block.data["retry"], dict):
        return RetryPolicy.read(Reader(data, child_path(block.path, "retry"), block.problems))
    block.refuse("retry", _("must be an object"))
    return default


def _report_cycle(cycle: tuple[str, ...], *, block: Reader) -> None:
    if not cycle:
        return
    names = cycle if len(cycle) <= SHOWN_OF_CYCLE else (*cycle[: SHOWN_OF_CYCLE - 2], "…", cycle[-1])
    message = _("the tasks depend on each other in a circle: %(cycle)s")
    block.refuse("tasks", message, cycle=" -> ".join(names))
