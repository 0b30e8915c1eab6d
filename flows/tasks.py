"""The tasks of a flow's definition, read and checked; `definition` reads what is around them. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from django.utils.translation import gettext_noop as _

from dist_task.executors.secrets import Place, places
from dist_task.problems import Meant, Problems, child_path, shown
from flows import expressions
from flows.expressions import FLOW_ROOTS, MOST_ITEMS, Expression
from flows.hints import report_config
from flows.reader import Reader
from flows.registry import RegisteredTask
from flows.retry import RetryPolicy
from flows.task_calls import InputCheck, Known, input_check, read_called
from flows.task_spec import SUBFLOW, TaskSpec
from flows.templates import Scope, Template, from_input_from, read, read_aliases, report_count

DEFAULT_TIMEOUT = 30
LEAST_TIMEOUT, MOST_TIMEOUT = 0.001, 86_400
MOST_TOTAL_TIMEOUT = 366 * 86_400
LONGEST_NAME = 200
LONGEST_DESCRIPTION = 10_000
TASK_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
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
        "total_timeout",
        "retry",
        "optional",
        "input",
        "input_from",
        "output",
        "when",
        "foreach",
        "max_parallel",
        "compensate",
    )
)
COMPENSATE_KEYS = frozenset(("task_name", "type", "config", "input", "timeout", "total_timeout", "retry"))
INPUT_ROOTS = frozenset(("params", "tasks", "instance_id", "secrets"))
ITEM_ROOTS = frozenset(("item", "index"))
CONFIG_ROOTS = INPUT_ROOTS | {"input"}
UNDO_ROOTS = CONFIG_ROOTS | {"output"}
"""What templates may begin with. A compensation's `input` is made of what its task was given and gave."""
UNDO_RETRY = RetryPolicy(strategy="auto", max_attempts=10, interval=10, backoff="exponential", max_interval=600)
"""Of a compensation that says nothing else: longer than most outages, over an hour in all."""
NO_TASK = _("there is no task %(id)s")


class Sketch(NamedTuple):
    """A task before it is read: its place in the graph. `id` is "" where it has none of its own."""

    id: str
    block: Reader
    depends_on: tuple[str, ...]  # those that exist


def sketch_tasks(block: Reader) -> list[Sketch]:
    ids: dict[str, int] = {}  # each with the place of the first task that has it
    readers: list[tuple[Reader, str]] = []
    for index, item in enumerate(block.items("tasks")):
        path = child_path("tasks", index)
        if isinstance(item, dict):
            reader = Reader(item, path, block.problems)
            readers.append((reader, _read_id(reader, index=index, ids=ids)))
        else:
            block.problems.add(path, _("must be an object"))
    return [
        Sketch(task_id, reader, _read_dependencies(reader, task_id=task_id, ids=ids)) for reader, task_id in readers
    ]


def read_tasks(sketches: list[Sketch], *, known: Known, problems: Problems) -> list[TaskSpec]:
    """The tasks that have an id of their own."""
    named = [(each.block.path, each.id, each.block.data["output"]) for each in sketches if "output" in each.block.data]
    known = replace(known, aliases=read_aliases(named, ids=known.ids, problems=problems))
    specs = [_read_task(sketch, known=known) for sketch in sketches]
    undoing = (spec.compensate for spec in specs if spec.compensate is not None)
    templates = [each for spec in (*specs, *undoing) for each in (spec.config_template, spec.input) if each is not None]
    report_count(templates, path="tasks", problems=problems)
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
        block.refuse("id", message, hint=_("give each task an id of its own"), id=task_id, first=ids[task_id])
    else:
        ids[task_id] = index
        return task_id
    return ""


def _read_task(sketch: Sketch, *, known: Known) -> TaskSpec:
    task_id, block, depends_on = sketch
    block.refuse_other_keys(known=TASK_KEYS)
    items = ITEM_ROOTS if "foreach" in block.data else frozenset()
    description = block.text("description", longest=LONGEST_DESCRIPTION)
    called = read_called(block, scope=known.scope(task_id, roots=CONFIG_ROOTS | items), known=known)
    name = _shown_name(block, description=description, entry=called.entry, task_id=task_id)
    timeout_seconds = _read_timeout(block, default=DEFAULT_TIMEOUT)
    flow_scope = known.scope(task_id, roots=FLOW_ROOTS)
    when, foreach = (_read_expression(block, key, scope=flow_scope) for key in ("when", "foreach"))
    looks_everywhere = any(each.needs is None for each in (when, foreach) if each is not None)
    spec = TaskSpec(
        id=task_id,
        name=name,
        task_name=called.task_name,
        description=description,
        type=called.type,
        depends_on=depends_on,
        config=called.config,
        config_template=called.config_template,
        input=_read_input(
            block, scope=known.scope(task_id, roots=INPUT_ROOTS | items), check=input_check(called, known=known)
        ),
        when=when,
        foreach=foreach,
        max_parallel=_read_max_parallel(block),
        ancestors=frozenset(known.ancestry.of(task_id)) if looks_everywhere else frozenset(),
        retry=_read_retry(block, default=RetryPolicy()),
        timeout_seconds=timeout_seconds,
        total_seconds=read_total_timeout(block),
        optional=block.flag("optional", default=False),
        inputs=called.entry.inputs if called.entry else (),
        secret_places=_secret_places(block, entry=called.entry, type=called.type),
        compensate=_read_compensation(
            block, task_id=task_id, name=name, type=called.type, timeout_seconds=timeout_seconds, known=known
        ),
    )
    is_undone_by_itself = spec.type == SUBFLOW and spec.compensate is None
    return replace(spec, compensate=_undo_of_subflow(spec)) if is_undone_by_itself else spec


def _read_input(block: Reader, *, scope: Scope, check: InputCheck) -> Template | None:
    """The parameters that the task says itself; None where it is given those of the transaction."""
    if "input_from" in block.data and "input" in block.data:
        message = _("is another way to say input: only one of them may be given")
        block.refuse("input_from", message, hint=_("leave it out"))
    if "input" in block.data:
        value, key = dict(block.member("input")), "input"
    elif "input_from" in block.data:
        key = "input_from"
        path = child_path(block.path, key)
        value = from_input_from(block.data[key], path=path, problems=block.problems)
    else:
        return None
    path = child_path(block.path, key)
    report_config(check(value), kind="", path=path, problems=block.problems, examples={})
    return read(value, path=path, problems=block.problems, scope=scope)


def _read_expression(block: Reader, key: str, *, scope: Scope) -> Expression | None:
    if key not in block.data:
        return None
    return expressions.read(block.data[key], path=child_path(block.path, key), problems=block.problems, scope=scope)


def _read_max_parallel(block: Reader) -> int | None:
    if "max_parallel" not in block.data:
        return None
    if "foreach" not in block.data:
        block.refuse("max_parallel", _("is for the items of a foreach, which this task does not have"))
    return block.whole("max_parallel", least=1, most=MOST_ITEMS, default=MOST_ITEMS)


def _secret_places(block: Reader, *, entry: RegisteredTask | None, type: str) -> tuple[Place, ...]:
    """Of its own input, and of the defaults of input fields; what comes from elsewhere names no secret."""
    defaults = {each.name: each.default for each in entry.inputs} if entry else {}
    found = places({**defaults, **block.member("input")} if "input" in block.data else defaults)
    if found and type == SUBFLOW:
        block.refuse("input", _("becomes the parameters of a transaction, which are stored: no secret may be in them"))
    return found


def _read_timeout(block: Reader, *, default: float) -> float:
    return block.number("timeout", least=LEAST_TIMEOUT, most=MOST_TIMEOUT, default=default)


def read_total_timeout(block: Reader, key: str = "total_timeout") -> float | None:
    if key not in block.data:
        return None
    return block.number(key, least=LEAST_TIMEOUT, most=MOST_TOTAL_TIMEOUT, default=MOST_TOTAL_TIMEOUT)


def _read_compensation(
    block: Reader, *, task_id: str, name: str, type: str, timeout_seconds: float, known: Known
) -> TaskSpec | None:
    """It calls something of its own: nothing of the task's config is taken over. Its type is the task's by default."""
    if "compensate" not in block.data:
        return None
    undo = Reader(block.member("compensate"), child_path(block.path, "compensate"), block.problems)
    undo.refuse_other_keys(known=COMPENSATE_KEYS)
    roots = UNDO_ROOTS | ITEM_ROOTS if "foreach" in block.data else UNDO_ROOTS
    scope = known.scope(task_id, roots=roots)
    called = read_called(undo, scope=scope, known=known, default_type=type)
    return TaskSpec(
        id=task_id,
        name=name,
        task_name=called.task_name,
        description="",
        type=called.type,
        depends_on=(),
        config=called.config,
        config_template=called.config_template,
        input=_read_input(undo, scope=scope, check=input_check(called, known=known)),
        retry=_read_retry(undo, default=UNDO_RETRY),
        timeout_seconds=_read_timeout(undo, default=timeout_seconds),
        total_seconds=read_total_timeout(undo),
        optional=False,
        inputs=(),
        # without an input of its own it gets what its task was given
        secret_places=_secret_places(undo if "input" in undo.data else block, entry=None, type=called.type),
    )


def _undo_of_subflow(spec: TaskSpec) -> TaskSpec:
    """The transaction that was started is undone as its own flow says. It names no flow: it starts none."""
    return TaskSpec(
        id=spec.id,
        name=spec.name,
        task_name="",
        description="",
        type=SUBFLOW,
        depends_on=(),
        config={},
        retry=UNDO_RETRY,
        timeout_seconds=spec.timeout_seconds,
        total_seconds=None,
        optional=False,
        inputs=(),
    )


def _shown_name(block: Reader, *, description: str, entry: RegisteredTask | None, task_id: str) -> str:
    name = block.text("name", longest=LONGEST_NAME) or description
    if not name and entry:
        name = entry.description or entry.name
    return shown(name or task_id, length=LONGEST_NAME)


def _read_dependencies(block: Reader, *, task_id: str, ids: Mapping[str, int]) -> tuple[str, ...]:
    """Those that exist, each once, so that the graph can be looked at even where others are wrong."""
    named = block.items("depends_on")
    if _are_right(named, task_id=task_id, ids=ids):
        return tuple(named)
    needed: dict[str, None] = {}
    for index, other in enumerate(named):
        fault, hint = "", _("leave it out")
        if not isinstance(other, str):
            fault, hint = _("must be the id of a task"), ""
        elif other not in ids:
            fault, hint = NO_TASK, _("name a task of this flow, or leave it out")
        elif other == task_id:
            fault = _("the task %(id)s cannot depend on itself")
        elif other in needed:
            fault = _("%(id)s is named twice")
        else:
            needed[other] = None
        if fault:
            meant = Meant(other, ids) if fault == NO_TASK else None
            block.problems.add_at(block.path, ("depends_on", index), fault, meant=meant, hint=hint, id=shown(other))
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
