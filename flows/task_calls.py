"""What a task, or what undoes it, calls: its type, its config, and what the registry says of it. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from django.utils.translation import gettext_noop as _

from dist_task.problems import Meant, child_path, shown
from flows.graph import Ancestry
from flows.hints import report_config
from flows.reader import Reader
from flows.registry import RegisteredTask
from flows.templates import Scope, Template, read_config

LONGEST_TASK_NAME = 64
NO_KEYS: Mapping[str, Collection[str]] = MappingProxyType({})
NO_EXAMPLES: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
NO_CHECKS: Mapping[str, Any] = MappingProxyType({})
# The type that a config gives away, where neither the task nor the registry names one.
TYPE_OF_KEYS = (
    ("rpc", ("service", "method")),
    ("mq", ("topic",)),
    ("http", ("url",)),
    ("db", ("operation", "table")),
    ("http", ("connection", "path")),
    ("python", ("function",)),
)

Registry = Mapping[str, RegisteredTask]
Kinds = Mapping[str, Callable[[Mapping[str, Any]], list[str]]]
"""Task type to what checks a config of it."""
InputChecks = Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]]
"""Task type to what checks an `input` block, beside the config: for those that know what their calls take."""
InputCheck = Callable[[Mapping[str, Any]], list[str]]
FixedKeys = Mapping[str, Collection[str]]
"""Task type to the keys of its config that choose where a call goes: no data of a transaction may stand there."""
Examples = Mapping[str, Mapping[str, Any]]
"""Task type to an example of each key of its config."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a task may refer to."""

    registry: Registry
    kinds: Kinds
    fixed_keys: FixedKeys
    examples: Examples
    ids: Collection[str]
    ancestry: Ancestry
    aliases: Mapping[str, str]
    input_checks: InputChecks

    def scope(self, task_id: str, *, roots: Collection[str]) -> Scope:
        """Of the templates of a task. What undoes it may look at its own output, too."""
        return Scope(roots, ids=self.ids, ancestors=self.ancestry.of(task_id), aliases=self.aliases)


class Called(NamedTuple):
    """What a task, or its compensation, calls."""

    task_name: str
    entry: RegisteredTask | None
    type: str  # "" where it has none that is available here
    config: dict[str, Any]
    config_template: Template


def read_called(block: Reader, *, scope: Scope, known: Known, default_type: str = "") -> Called:
    task_name = block.text("task_name", longest=LONGEST_TASK_NAME)
    entry = known.registry.get(task_name) if task_name else None
    own_config = block.member("config")
    config = {**entry.config, **own_config} if entry else dict(own_config)
    kind = _read_type(block, entry=entry, config=config, known=known, default=default_type)
    path = child_path(block.path, "config")
    if check := known.kinds.get(kind):
        examples = known.examples.get(kind, {})
        report_config(check(config), kind=kind, path=path, problems=block.problems, examples=examples)
    fixed_keys = known.fixed_keys.get(kind, ())
    template = read_config(config, path=path, problems=block.problems, scope=scope, fixed_keys=fixed_keys)
    return Called(task_name, entry, kind, config, template)


def input_check(called: Called, *, known: Known) -> InputCheck:
    """Where the registry has fields of its own, they have the first word, when it begins."""
    check = known.input_checks.get(called.type)
    if check is None or (called.entry and called.entry.inputs):
        return _unchecked
    return partial(check, called.config)


def _unchecked(value: Mapping[str, Any]) -> list[str]:
    return []


def _read_type(
    block: Reader, *, entry: RegisteredTask | None, config: Mapping[str, Any], known: Known, default: str = ""
) -> str:
    """The type of the task; "" where it has none that is available here."""
    if "type" in block.data:
        kind, key = block.data["type"], "type"
        if not isinstance(kind, str):
            block.refuse("type", _("must be a string"))
            return ""
        if entry and kind != entry.type:
            message = _("is %(type)s, but the task definition %(task_name)s is of type %(registered)s")
            named = {"type": shown(kind), "task_name": entry.name, "registered": entry.type}
            block.refuse("type", message, meant=None, hint=_("leave it out"), **named)
            return ""
    else:
        default = "" if "task_name" in block.data else default
        kind, key = entry.type if entry else _type_of_config(config) or default, "task_name" if entry else "type"
    if kind in known.kinds:
        return kind
    available = ", ".join(sorted(known.kinds))
    if kind:
        message = _("task type '%(type)s' is not available in this version; available: %(available)s")
        block.refuse(key, message, meant=Meant(kind, known.kinds), type=shown(kind), available=available)
    elif block.data.get("task_name"):
        message = _("%(task_name)s is not a registered task definition; without one, a type is required")
        meant = Meant(block.data["task_name"], known.registry)
        block.refuse("task_name", message, meant=meant, task_name=block.quoted("task_name"))
    else:
        block.refuse("type", _("is required; available: %(available)s"), available=available)
    return ""


def _type_of_config(config: Mapping[str, Any]) -> str:
    for kind, keys in TYPE_OF_KEYS:
        if all(key in config for key in keys):
            return kind
    return ""
