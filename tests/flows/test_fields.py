from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.definition import FlowDefinition, TaskSpec
from flows.fields import Field, InvalidInput, convert, parse_fields, task_parameters
from flows.registry import RegisteredTask

PLAIN = RegisteredTask("plain", "noop")
DEDUCT = RegisteredTask("deduct", "noop", inputs=(Field("user_id", "string", required=True), Field("amount", "int")))


def spec(task_name: str) -> TaskSpec:
    registry = {"plain": PLAIN, "deduct": DEDUCT}
    definition = {"tasks": [{"id": "first", "task_name": task_name}]}
    return FlowDefinition.parse(definition, registry=registry, kinds={"noop": lambda config: []}).tasks["first"]


def problems_of(call: Any) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        call()
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("string", "x", "x"),
        ("string", "", ""),
        ("string", 12, "12"),
        ("string", 1.5, "1.5"),
        ("int", 0, 0),
        ("int", "100", 100),
        ("int", "-7", -7),
        ("int", 100.0, 100),
        ("int64", 2**63 - 1, 2**63 - 1),
        ("int64", str(-(2**63)), -(2**63)),
        ("float", 1, 1.0),
        ("float64", "1.5e3", 1500.0),
        ("float", ".5", 0.5),
        ("bool", True, True),
        ("bool", "False", False),
        ("[]string", ["a", 1], ["a", "1"]),
        ("[]string", [], []),
        ("[]int", ["1", 2], [1, 2]),
        ("[]float", [1, "2.5"], [1.0, 2.5]),
        ("object", {"a": 1}, {"a": 1}),
        ("array", [1, "a"], [1, "a"]),
        ("time", "2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("time", "2024-01-31 10:00:00+08:00", "2024-01-31 10:00:00+08:00"),
        ("*", {"any": [1]}, {"any": [1]}),
    ],
)
def test_a_value_takes_the_type_of_its_field(kind: str, value: Any, expected: Any) -> None:
    converted = convert([Field("x", kind)], {"x": value})["x"]

    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", True),
        ("string", ["x"]),
        ("int", True),
        ("int", "12.5"),
        ("int", ""),
        ("int", " 1"),
        ("int", "１２"),
        ("int", 1.5),
        ("int", float("nan")),
        ("int", float("inf")),
        ("int64", 2**63),
        ("int64", "9" * 19),
        ("int64", "9" * 5000),
        ("float", "nan"),
        ("float", "Infinity"),
        ("float", "1_0"),
        ("float", "1e999"),
        ("float", 10**400),
        ("float", False),
        ("bool", 1),
        ("bool", "yes"),
        ("[]string", "a"),
        ("[]int", [1, "x"]),
        ("[]float", {}),
        ("object", []),
        ("array", {}),
        ("time", "yesterday"),
        ("time", 1706695200),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    assert set(problems_of(lambda: convert([Field("x", kind)], {"x": value}))) == {"x"}


def test_only_the_fields_are_taken() -> None:
    assert convert([Field("a", "int")], {"a": "1", "b": 2}) == {"a": 1}


def test_null_takes_the_default() -> None:
    fields = [
        Field("a", "int", default=5),
        Field("b", "int", required=True, default=6),
        Field("c"),
        Field("d"),
    ]

    assert convert(fields, {"a": None, "c": None}) == {"a": 5, "b": 6, "c": None}


def test_everything_that_is_missing_or_wrong_is_told() -> None:
    fields = [Field("a", "int", required=True), Field("b", "string", required=True), Field("c", "int")]

    found = problems_of(lambda: convert(fields, {"b": None, "c": "x"}, path="params.deduct"))

    assert found == {
        "params.deduct.a": "is required (int)",
        "params.deduct.b": "is required (string)",
        "params.deduct.c": "must be a whole number",
    }


@given(st.sampled_from(["string", "int", "float", "bool", "[]string", "object", "time"]), st.data())
def test_no_value_makes_anything_but_invalid_input(kind: str, data: st.DataObject) -> None:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    value = data.draw(scalars | st.lists(scalars) | st.dictionaries(st.text(), scalars))
    fields = [Field("x", kind)]

    try:
        converted = convert(fields, {"x": value})
    except InvalidInput:
        return

    assert convert(fields, converted) == converted


# -- which parameters a task gets --


@pytest.mark.parametrize(
    ("task_name", "params", "expected"),
    [
        ("plain", None, {}),
        ("plain", {}, {}),
        ("plain", {"other": 1}, {"other": 1}),
        ("plain", {"first": {"a": 1}, "other": 1}, {"a": 1}),
        ("plain", {"plain": {"a": 1}}, {"a": 1}),
        ("plain", {"first": {"a": 1}, "plain": {"a": 2}}, {"a": 1}),
        ("plain", {"first": None}, {}),
        ("deduct", {"deduct": {"user_id": 7, "amount": "100", "x": 1}}, {"user_id": "7", "amount": 100}),
        ("deduct", {"first": {"user_id": "u"}}, {"user_id": "u"}),
    ],
)
def test_parameters_are_found_by_id_then_by_task_name(task_name: str, params: Any, expected: Any) -> None:
    assert task_parameters(spec(task_name), params=params) == expected


@pytest.mark.parametrize("params", [None, {}, {"user_id": "of somebody else"}, {"first": None}])
def test_a_missing_required_field_is_named_where_it_belongs(params: Any) -> None:
    found = problems_of(lambda: task_parameters(spec("deduct"), params=params))

    assert found == {"params.first.user_id": "is required (string)"}


@pytest.mark.parametrize("own", ["x", 1, [], False])
def test_parameters_that_are_no_object_are_refused(own: Any) -> None:
    found = problems_of(lambda: task_parameters(spec("plain"), params={"first": own}))

    assert found == {"params.first": "must be an object: the parameters of task first"}


# -- the registry's list of fields --


def test_a_list_of_fields_is_read() -> None:
    fields, problems = parse_fields([{"name": "a", "type": "int", "required": True, "default": "3"}, {"name": "b"}])

    assert problems == []
    assert fields == (Field("a", "int", required=True, default=3), Field("b", "*"))


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, "inputs"),
        ([{"name": "x"}] * 201, "inputs"),
        ([1], "inputs[0]"),
        ([{}], "inputs[0].name"),
        ([{"name": 1}], "inputs[0].name"),
        ([{"name": "a", "type": "number"}], "inputs[0].type"),
        ([{"name": "a", "type": []}], "inputs[0].type"),
        ([{"name": "a", "required": "yes"}], "inputs[0].required"),
        ([{"name": "a", "type": "int", "default": "x"}], "inputs[0].default"),
        ([{"name": "a", "size": 3}], "inputs[0].size"),
        ([{"name": "a"}, {"name": "a"}], "inputs[1].name"),
    ],
)
def test_what_is_wrong_with_a_list_of_fields_is_told_with_its_path(data: Any, path: str) -> None:
    _fields, problems = parse_fields(data)

    assert path in [problem.path for problem in problems]
