"""Python functions that flows may call: `@dist_task.task("name")`, and what such a function is told of its call.

Light, and the standard library only: modules of tasks are imported by whoever likes to. What is checked here is checked
when a function is registered; the types themselves are those of the input fields (`executors.python.arguments`).
"""

from __future__ import annotations

import inspect
import re
import time
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}")
FIELD_KEYS = frozenset({"type", "required", "default", "description"})
TYPES: Mapping[Any, str] = {
    str: "string",
    int: "int",
    float: "float",
    bool: "bool",
    dict: "object",
    list: "array",
    datetime: "time",
    Decimal: "string",
    Any: "*",
    list[str]: "[]string",
    list[int]: "[]int",
    list[float]: "[]float",
}
"""What an annotation says of an input."""
CONTAINERS = {dict: "object", Mapping: "object", list: "array"}
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Call:
    """Which attempt it is. A function that has a parameter `call`, or one of this type, is given it.

    `idempotency_key` is the same for every attempt of a task run; `headers` are what a called service is told.
    `op` is `action` or `compensate`; `item` is -1 outside of a `foreach`.
    """

    instance_id: str
    task_id: str
    op: str
    item: int
    attempt: int
    idempotency_key: str
    deadline: datetime
    headers: Mapping[str, str]
    ends_at: float = field(repr=False)  # on the monotonic clock

    @property
    def seconds_left(self) -> float:
        """Until the function is killed."""
        return max(self.ends_at - time.monotonic(), 0.0)


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter. `python` is what the converted value becomes, where JSON has no such type."""

    name: str
    type: str
    required: bool
    nullable: bool = True
    has_default: bool = False  # the function's own
    default: Any = None
    description: str = ""
    python: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """`at_once`: so many calls of it a worker makes at the same time; None for as many as there is room for."""

    name: str
    call: Callable[..., Any]
    inputs: tuple[Input, ...]
    takes_call_as: str = ""
    threads: bool = False
    on_loop: bool = False
    at_once: int | None = None

    @property
    def origin(self) -> tuple[str, str]:
        """Where it is defined: the same for a module that is imported once more."""
        return self.call.__module__, self.call.__qualname__


REGISTERED: dict[str, Function] = {}


def task(
    name: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    threads: bool = False,
    on_loop: bool = False,
    at_once: int | None = None,
) -> Callable[[FunctionT], FunctionT]:
    """Registers a function under the name that flows write: `{"type": "python", "config": {"function": name}}`.

    `inputs`: parameter to a type of the input fields, or to an object of `type`, `required`, `default`, `description`.
    Without it the annotations say the types. Each call runs in a process that is killed at its deadline, unless
    `threads` (for a plain function) or `on_loop` (for a coroutine function) trusts it with the worker itself.
    `at_once` is how many calls of it a worker makes at the same time.

    Raises TypeError for what cannot be told or called, ValueError for a name that is no name or is taken.
    """
    if not isinstance(name, str):
        raise TypeError('write @task("name"): flows call the function by it')
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: 1 to 100 letters, digits and _ . : -, beginning with one of the first")
    if at_once is not None and (not isinstance(at_once, int) or at_once < 1):
        raise ValueError("at_once must be a whole number from 1")

    def register(call: FunctionT) -> FunctionT:
        _check_kind(call, threads=threads, on_loop=on_loop)
        found, takes_call_as = _read(call, inputs=inputs)
        function = Function(
            name, call, found, takes_call_as=takes_call_as, threads=threads, on_loop=on_loop, at_once=at_once
        )
        earlier = REGISTERED.get(name)
        if earlier is not None and earlier.origin != function.origin:
            raise ValueError(f"{name!r} is registered already, as {'.'.join(earlier.origin)}")
        REGISTERED[name] = function
        return call

    return register


def _check_kind(call: Callable[..., Any], *, threads: bool, on_loop: bool) -> None:
    if not inspect.isroutine(call):
        raise TypeError(f"{call!r} is no function")
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise TypeError(f"{call.__qualname__} is a generator: it would run nothing")
    is_coroutine = inspect.iscoroutinefunction(call)
    if threads and is_coroutine:
        raise TypeError(f"{call.__qualname__} is a coroutine function: it runs in no thread; on_loop is for it")
    if on_loop and not is_coroutine:
        raise TypeError(f"{call.__qualname__} is a plain function: it would hold the loop; threads is for it")


def _read(call: Callable[..., Any], *, inputs: Mapping[str, Any] | None) -> tuple[tuple[Input, ...], str]:
    """Its inputs, and the parameter that is given the call."""
    hints = _hints(call)
    parameters = dict(inspect.signature(call).parameters)
    takes_call_as = next((name for name in parameters if hints.get(name) is Call), "")
    if not takes_call_as and "call" in parameters and "call" not in (inputs or {}):
        takes_call_as = "call"
    parameters.pop(takes_call_as, None)
    is_open = _check_parameters(call, parameters.values(), has_inputs=inputs is not None)
    parameters = {name: each for name, each in parameters.items() if each.kind in BY_NAME}
    if inputs is None:
        found = tuple(_told(call, each, hints=hints) for each in parameters.values())
    else:
        found = _declared(call, inputs, parameters=parameters, hints=hints, is_open=is_open)
    return found, takes_call_as


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except Exception as error:
        raise TypeError(f"the annotations of {call.__qualname__} cannot be read: {error}") from error


def _check_parameters(call: Callable[..., Any], parameters: Iterable[inspect.Parameter], *, has_inputs: bool) -> bool:
    """Whether it takes whatever it is given (`**kwargs`). All that it is given, it is given by name."""
    is_open = False
    for each in parameters:
        if each.kind is inspect.Parameter.VAR_KEYWORD:
            is_open = True
        elif each.kind not in BY_NAME:
            raise TypeError(f"{call.__qualname__}: arguments are given by name, which {each} does not take")
    if is_open and not has_inputs:
        raise TypeError(f"{call.__qualname__} takes any argument: say in inputs which ones")
    return is_open


def _told(call: Callable[..., Any], parameter: inspect.Parameter, *, hints: Mapping[str, Any]) -> Input:
    """What the annotation says."""
    if parameter.name not in hints:
        raise TypeError(
            f"{call.__qualname__}: {parameter.name} has no annotation; write one, or say its type in inputs"
        )
    hint, nullable = _without_none(hints[parameter.name])
    kind = _type_of(hint)
    if not kind:
        where = f"{call.__qualname__}: {parameter.name}"
        raise TypeError(f"{where} is {parameter.annotation}, which tells no type of an input; say it in inputs")
    return _input(parameter, type=kind, nullable=nullable, python=_python(hint))


def _declared(
    call: Callable[..., Any],
    inputs: Mapping[str, Any],
    *,
    parameters: Mapping[str, inspect.Parameter],
    hints: Mapping[str, Any],
    is_open: bool,
) -> tuple[Input, ...]:
    missing = [each.name for each in parameters.values() if each.name not in inputs and not _has_default(each)]
    if missing:
        raise TypeError(f"{call.__qualname__}: inputs lacks {', '.join(missing)}")
    unknown = [name for name in inputs if name not in parameters and not is_open]
    if unknown:
        raise TypeError(f"{call.__qualname__} has no parameter {', '.join(unknown)}")
    found = []
    for name, given in inputs.items():
        told = {"type": given} if isinstance(given, str) else given
        if not isinstance(told, Mapping) or not isinstance(told.get("type", "*"), str) or set(told) - FIELD_KEYS:
            raise TypeError(f"{call.__qualname__}: the input {name} is a type, or an object of {', '.join(FIELD_KEYS)}")
        parameter = parameters.get(name) or inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY)
        hint, nullable = _without_none(hints.get(name))
        nullable = nullable or told.get("required") is False
        python = _python(hint)
        found.append(_input(parameter, nullable=nullable, python=python, **{"type": "*", **told}))
    return tuple(found)


def _input(
    parameter: inspect.Parameter,
    *,
    type: str,
    nullable: bool,
    python: Any,
    required: bool | None = None,
    **more: Any,
) -> Input:
    has_default = _has_default(parameter)
    needed = not has_default and not nullable and more.get("default") is None if required is None else required
    return Input(
        parameter.name, type, required=needed, nullable=nullable, has_default=has_default, python=python, **more
    )


def _has_default(parameter: inspect.Parameter) -> bool:
    return parameter.default is not inspect.Parameter.empty


def _without_none(hint: Any) -> tuple[Any, bool]:
    """`X | None` is an X that may be missing, and so may Any be. Another union stays one, and tells nothing."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, hint is Any
    others = [each for each in typing.get_args(hint) if each is not types.NoneType]
    if len(others) == 1 and len(others) < len(typing.get_args(hint)):
        return others[0], True
    return hint, False


def _type_of(hint: Any) -> str:
    """A type of the input fields; "" where the annotation is none of theirs."""
    origin = typing.get_origin(hint)
    known = TYPES.get(hint, "") if origin is None or origin is list else ""
    return known or CONTAINERS.get(origin or hint, "")


def _python(hint: Any) -> Any:
    return hint if hint in (datetime, Decimal) else None
