"""A task's parameters become the arguments of its function."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from dist_task.executors.base import TaskCall
from dist_task.functions import Call, Function, Input
from dist_task.problems import Fault, Meant, Problem, shown
from flows.fields import Field, InvalidInput, convert, parse_fields

ROOT = "input"
OPENING = "${"


def arguments_of(function: Function, call: TaskCall) -> dict[str, Any]:
    """By name. Raises InvalidInput, which names all that is missing or does not fit, and ExecutionError (NO_SECRET).

    Null, like a parameter that is missing, leaves the function's own default, where it has one.
    """
    given = convert(_fields(function), call.filled_input, path=ROOT)
    arguments = {}
    for each in function.inputs:
        value = given.get(each.name)
        if value is not None:
            arguments[each.name] = _as_python(each, value)
        elif not each.has_default:
            arguments[each.name] = None
    if function.takes_call_as:
        arguments[function.takes_call_as] = told(call)
    return arguments


def told(call: TaskCall) -> Call:
    """What the function is told of the attempt, which begins now."""
    return Call(
        instance_id=call.instance_id,
        task_id=call.task_id,
        op=call.op,
        item=call.item,
        attempt=call.attempt,
        idempotency_key=call.idempotency_key,
        deadline=datetime.now(UTC) + timedelta(seconds=call.timeout_seconds),
        headers=call.headers,
        ends_at=time.monotonic() + call.timeout_seconds,
    )


def input_problems(function: Function) -> list[str]:
    """Of what its registration says: a type that there is not, a default that does not fit."""
    return [str(problem) for problem in _parsed(function)[1]]


def block_problems(function: Function, given: Mapping[str, Any]) -> list[str]:
    """Of the `input` block of a task: what the function does not take, lacks, or is of another type.

    What holds templates is known when the task begins. What an author writes for nobody is a mistake of his; what else
    a transaction's params hold is not.
    """
    hint = gettext("%(function)s takes: %(names)s") % {
        "function": function.name,
        "names": ", ".join(_names(function)) or "-",
    }
    problems: list[str] = [
        Fault(_not_taken(name, function=function), key=name, hint=hint)
        for name in given
        if name not in _names(function)
    ]
    known = {name: value for name, value in given.items() if OPENING not in str(value)}
    fields = [each for each in _fields(function) if each.name in known or each.name not in given]
    try:
        convert(fields, known)
    except InvalidInput as error:
        problems += [Fault(str(problem), key="", hint=hint) for problem in error.problems]
    return problems


def _not_taken(name: str, *, function: Function) -> str:
    names = _names(function)
    told = gettext("%(function)s takes no %(name)s; it takes %(names)s") % {
        "function": function.name,
        "name": shown(name),
        "names": ", ".join(names) or "-",
    }
    guess = Meant(name, names).guess()
    return gettext("%(told)s; did you mean %(guess)s?") % {"told": told, "guess": guess} if guess else told


def _names(function: Function) -> list[str]:
    return [each.name for each in function.inputs]


def _fields(function: Function) -> tuple[Field, ...]:
    return _parsed(function)[0]


@cache
def _parsed(function: Function) -> tuple[tuple[Field, ...], list[Problem]]:
    return parse_fields([_written(each) for each in function.inputs], path=f"inputs of {function.name}")


def _written(each: Input) -> dict[str, Any]:
    """As the registry's entries write their input fields."""
    written = {"name": each.name, "type": each.type, "required": each.required, "default": each.default}
    return {**written, "description": each.description}


def _as_python(each: Input, value: Any) -> Any:
    if each.python is None:
        return value
    convert_it, misfit = _PYTHON[each.python]
    try:
        return convert_it(value)
    except (TypeError, ValueError, InvalidOperation):
        raise InvalidInput([Problem(f"{ROOT}.{each.name}", gettext(misfit))]) from None


_PYTHON: Mapping[type, tuple[Callable[[Any], Any], str]] = {
    datetime: (datetime.fromisoformat, _("must be a time such as 2024-01-31T10:00:00Z")),
    Decimal: (lambda value: _finite(Decimal(str(value))), _("must be a number")),
}


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite():
        raise ValueError("not finite")
    return value
