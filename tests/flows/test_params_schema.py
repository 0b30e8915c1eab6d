"""A flow may say what its params must look like; a start that brings others is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.problems import InvalidValue, Problems
from flows.params_schema import ParamsSchema

ORDER = {
    "type": "object",
    "required": ["amount"],
    "properties": {
        "amount": {"type": "integer", "minimum": 1},
        "items": {"type": "array", "items": {"$ref": "#/$defs/i"}},
    },
    "$defs": {"i": {"type": "object", "required": ["sku"]}},
}


def read(schema: Any) -> tuple[ParamsSchema | None, list[str]]:
    problems = Problems(root="definition")
    found = ParamsSchema.read(schema, path="params_schema", problems=problems)
    return found, [problem.path for problem in problems.report()]


@pytest.mark.parametrize(
    ("params", "paths"),
    [
        ({"amount": 1}, []),
        ({"amount": 1, "items": [{"sku": "tea"}], "more": None}, []),
        ({}, ["params"]),
        ({"amount": "1"}, ["params.amount"]),
        ({"amount": 0, "items": [{"sku": 1}, {}]}, ["params.amount", "params.items[1]"]),
    ],
)
def test_params_are_judged_with_their_paths(params: dict[str, Any], paths: list[str]) -> None:
    schema, problems = read(ORDER)
    assert schema is not None and not problems

    try:
        schema.check(params)
        found = []
    except InvalidValue as error:
        found = sorted(problem.path for problem in error.problems)

    assert found == paths


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ([], "params_schema"),
        (None, "params_schema"),
        ({"type": "thing"}, "params_schema.type"),
        ({"properties": {"a": {"minimum": "1"}}}, "params_schema.properties.a.minimum"),
        ({"properties": {"a": {"pattern": "(a+)+$"}}}, "params_schema.properties.a.pattern"),
        ({"properties": {"a": {"$ref": "http://elsewhere/schema"}}}, "params_schema.properties.a.$ref"),
        ({"$id": "http://elsewhere/"}, "params_schema.$id"),
    ],
)
def test_what_is_no_schema_of_ours_is_refused(schema: Any, path: str) -> None:
    found, paths = read(schema)

    assert (found, paths) == (None, [path])


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/$defs/missing"}])
def test_a_schema_that_leads_nowhere_refuses_and_ends(schema: dict[str, Any]) -> None:
    found, _problems = read(schema)

    assert found is not None
    with pytest.raises(InvalidValue, match="cannot be judged"):
        found.check({})


def test_no_more_is_told_than_anybody_reads() -> None:
    found, _problems = read({"additionalProperties": False, "properties": {}, "items": {"type": "integer"}})
    many, _problems = read({"properties": {f"p{n}": {"type": "integer"} for n in range(100)}})
    assert found is not None and many is not None

    with pytest.raises(InvalidValue) as caught:
        many.check({f"p{n}": "x" * 10_000 for n in range(100)})

    assert len(caught.value.problems) == 20
    assert all(len(problem.message) < 300 for problem in caught.value.problems)
