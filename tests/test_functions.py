"""Registering functions: what they take is told by their annotations, or said."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Optional

import pytest

import dist_task
from dist_task import functions
from dist_task.executors.python.arguments import input_problems
from dist_task.functions import Call, Function, task

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Function]]:
    """An empty registry."""
    monkeypatch.setattr(functions, "REGISTERED", found := {})
    yield found


def inputs_of(function: Callable[..., Any], **options: Any) -> dict[str, tuple[str, bool]]:
    """Name to type, and whether it is required."""
    task("it", **options)(function)
    return {each.name: (each.type, each.required) for each in functions.REGISTERED["it"].inputs}


def test_annotations_tell_the_types() -> None:
    def function(
        text: str,
        number: int,
        ratio: float,
        is_so: bool,
        things: list,  # type: ignore[type-arg]
        words: list[str],
        numbers: list[int],
        ratios: list[float],
        rows: list[dict[str, Any]],
        one: dict[str, Any],
        other: Mapping[str, int],
        at: datetime.datetime,
        price: Decimal,
        what: Any,
        maybe: str | None,
        perhaps: Optional[int],  # noqa: UP045  # the older way
        noted: Annotated[int, "cents"],
        with_default: int = 3,
    ) -> None: ...

    assert inputs_of(function) == {
        "text": ("string", True),
        "number": ("int", True),
        "ratio": ("float", True),
        "is_so": ("bool", True),
        "things": ("array", True),
        "words": ("[]string", True),
        "numbers": ("[]int", True),
        "ratios": ("[]float", True),
        "rows": ("array", True),
        "one": ("object", True),
        "other": ("object", True),
        "at": ("time", True),
        "price": ("string", True),
        "what": ("*", False),
        "maybe": ("string", False),
        "perhaps": ("int", False),
        "noted": ("int", True),
        "with_default": ("int", False),
    }
    assert input_problems(functions.REGISTERED["it"]) == []


def test_inputs_say_them_for_parameters_without() -> None:
    def function(a, b, c=1, **more): ...  # type: ignore[no-untyped-def]

    said = {"a": "int", "b": {"type": "[]string", "default": ["x"]}, "d": {"type": "time", "required": True}}

    assert inputs_of(function, inputs=said) == {"a": ("int", True), "b": ("[]string", False), "d": ("time", True)}


@pytest.mark.parametrize("name", ["call", "told"])
def test_the_call_is_no_input(name: str) -> None:
    def by_name(call, a: int) -> None: ...  # type: ignore[no-untyped-def]

    def by_type(told: Call, a: int) -> None: ...

    function = {"call": by_name, "told": by_type}[name]

    assert inputs_of(function) == {"a": ("int", True)}
    assert functions.REGISTERED["it"].takes_call_as == name


def no_annotation(a): ...  # type: ignore[no-untyped-def]
def a_set(a: set[str]) -> None: ...
def a_union(a: int | str) -> None: ...
def positional(a: int, /) -> None: ...
def any_number(*a: int) -> None: ...
def anything(**a: int) -> None: ...
def nowhere(a: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def generator(a: int) -> Iterator[int]:
    yield a


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_annotation, "a has no annotation"),
        (a_set, "tells no type of an input"),
        (a_union, "tells no type of an input"),
        (positional, "arguments are given by name"),
        (any_number, "arguments are given by name"),
        (anything, "say in inputs which ones"),
        (nowhere, "cannot be read: name 'Nowhere' is not defined"),
        (generator, "is a generator"),
    ],
)
def test_what_cannot_be_told_or_called_is_refused(
    function: Callable[..., Any], message: str, registered: dict[str, Function]
) -> None:
    with pytest.raises(TypeError, match=message):
        task("it")(function)

    assert registered == {}


def two(a: int, b: int) -> None: ...
async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (two, {"inputs": {"a": "int"}}, "inputs lacks b"),
        (two, {"inputs": {"a": "int", "b": "int", "c": "int"}}, "has no parameter c"),
        (two, {"inputs": {"a": "int", "b": {"kind": "int"}}}, "the input b is a type, or an object of"),
        (two, {"on_loop": True}, "threads is for it"),
        (coroutine, {"threads": True}, "on_loop is for it"),
    ],
)
def test_what_is_said_has_to_fit_the_function(
    function: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        task("it", **options)(function)


@pytest.mark.parametrize("name", ["", "with blank", ".dot", "x" * 101])
def test_a_name_is_a_word(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        task(name)


def test_the_decorator_needs_a_name() -> None:
    with pytest.raises(TypeError, match='write @task\\("name"\\)'):
        task(two)  # type: ignore[arg-type]


def test_a_name_is_of_one_function_which_may_be_defined_again() -> None:
    task("it")(two)
    task("it")(two)

    with pytest.raises(ValueError, match="'it' is registered already, as tests.test_functions.two"):
        task("it")(coroutine)


def test_a_type_that_there_is_not_and_a_default_that_does_not_fit_are_named() -> None:
    task("it", inputs={"a": "integer", "b": {"type": "int", "default": "x"}})(two)

    problems = input_problems(functions.REGISTERED["it"])

    assert [problem.partition(":")[0] for problem in problems] == ["inputs of it[0].type", "inputs of it[1].default"]


def test_it_needs_nothing_but_the_standard_library() -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from dist_task import Call, ExecutionError, task"

    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_package_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'tusk'"):
        _ = dist_task.tusk  # type: ignore[attr-defined]
