"""Input fields of task definitions: which parameters a task takes, and of which types.

Pure. The rules are those of FLOWS, "Parameters and data".
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop as _

from dist_task.problems import InvalidValue, Problem, Problems, child_path
from flows.reader import Reader

if TYPE_CHECKING:
    from flows.definition import TaskSpec

MOST_FIELDS = 200
_KEYS = frozenset(("name", "type", "required", "description", "default"))


class InvalidInput(InvalidValue):
    """The parameters of a task do not fit its input fields."""


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: str = "*"
    required: bool = False
    description: str = ""
    default: Any = None  # None: there is none


class _Misfit(Exception):
    """The value is not of the type; the argument is the untranslated sentence."""


def parse_fields(data: Any, *, path: str = "inputs") -> tuple[tuple[Field, ...], list[Problem]]:
    """The fields of a registry entry's JSON list, and what is wrong with it."""
    problems = Problems(root=path)
    if not isinstance(data, list) or len(data) > MOST_FIELDS:
        problems.add(path, _("must be a list of at most %(most)d objects"), most=MOST_FIELDS)
        return (), problems.report()
    fields: dict[str, Field] = {}
    for index, item in enumerate(data):
        where = child_path(path, index)
        if not isinstance(item, dict):
            problems.add(where, _("must be an object"))
            continue
        field = _read_field(Reader(item, where, problems))
        if field.name in fields:
            problems.add(child_path(where, "name"), _("is the name of another field too"))
        fields.setdefault(field.name, field)
    return tuple(fields.values()), problems.report()


def convert(fields: Iterable[Field], values: Mapping[str, Any], *, path: str = "") -> dict[str, Any]:
    """Just the values of the fields, in their types. InvalidInput names all that is missing or does not fit.

    Null and a missing value take the field's default. Without a default a required one is a problem, an
    optional one stays as it is (null, or missing).
    """
    problems = Problems(root=path or "params")
    converted: dict[str, Any] = {}
    for field in fields:
        value = values.get(field.name)
        where = child_path(path, field.name)
        if value is None and field.default is None:
            if field.required:
                problems.add(where, _("is required (%(type)s)"), type=field.type)
            elif field.name in values:
                converted[field.name] = None
            continue
        try:
            converted[field.name] = _converters[field.type](field.default if value is None else value)
        except _Misfit as misfit:
            problems.add(where, *misfit.args)
    if problems:
        raise InvalidInput(problems.report())
    return converted


def task_parameters(spec: "TaskSpec", *, params: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a task is given of its transaction's params: those under its id, else under its task_name.

    Without such a key a task with input fields starts from nothing, any other gets all of them.
    """
    params = params or {}
    key = next((key for key in (spec.id, spec.task_name) if key and key in params), None)
    own = {} if key is None or params[key] is None else params[key]
    if not isinstance(own, Mapping):
        where = child_path("params", key)
        problems = Problems(root=where)
        problems.add(where, _("must be an object: the parameters of task %(task)s"), task=spec.id)
        raise InvalidInput(problems.report())
    if spec.inputs:
        return convert(spec.inputs, own, path=child_path("params", key or spec.id))
    return dict(params if key is None else own)


def _read_field(block: Reader) -> Field:
    block.refuse_other_keys(known=_KEYS)
    name = block.text("name", longest=100)
    if not name:
        block.refuse("name", _("is required"))
    kind = block.choice("type", choices=tuple(_converters), default="*")
    default = block.data.get("default")
    if default is not None:
        try:
            default = _converters[kind](default)
        except _Misfit as misfit:
            block.refuse("default", *misfit.args)
            default = None
    return Field(
        name=name,
        type=kind,
        required=block.flag("required", default=False),
        description=block.text("description", longest=1000),
        default=default,
    )


# -- types --

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][+-]?[0-9]{1,4})?", re.ASCII)
_PAST_64_BITS = 2**63


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise _Misfit(_("must be a string"))


def _integer(value: Any) -> int:
    is_digits = isinstance(value, str) and _INTEGER.fullmatch(value)
    if is_digits or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Misfit(_("must be a whole number"))
    if not -_PAST_64_BITS <= value < _PAST_64_BITS:
        raise _Misfit(_("is beyond 64 bits"))
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Misfit(_("must be a number"))
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise _Misfit(_("must be a number"))
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Misfit(_("must be a finite number"))
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise _Misfit(_("must be true or false"))


def _object(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    raise _Misfit(_("must be an object"))


def _array(value: Any) -> Any:
    if isinstance(value, list):
        return value
    raise _Misfit(_("must be a list"))


def _time(value: Any) -> str:
    """Checked, but kept as the text that it was."""
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise _Misfit(_("must be a time such as 2024-01-31T10:00:00Z")) from None
    return str(value)


def _list_of(convert_item: Callable[[Any], Any], *, misfit: str) -> Callable[[Any], list[Any]]:
    def convert_list(value: Any) -> list[Any]:
        try:
            return [convert_item(item) for item in _array(value)]
        except _Misfit:
            raise _Misfit(misfit) from None

    return convert_list


_converters: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "int": _integer,
    "int64": _integer,
    "float": _float,
    "float64": _float,
    "bool": _bool,
    "[]string": _list_of(_string, misfit=_("must be a list of strings")),
    "[]int": _list_of(_integer, misfit=_("must be a list of whole numbers within 64 bits")),
    "[]float": _list_of(_float, misfit=_("must be a list of finite numbers")),
    "object": _object,
    "array": _array,
    "time": _time,
    "*": lambda value: value,
}
