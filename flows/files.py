"""Flows in JSON files: a body of POST /api/v1/flows, or a bare definition; - is standard input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dist_task.errors import DistTaskError
from dist_task.management.arguments import actor, read_text

KEYS = ("name", "flow_type", "definition", "description", "create_user")


@dataclass(frozen=True, slots=True)
class FlowFile:
    source: str
    name: str
    flow_type: str
    definition: str | dict[str, Any]
    description: str
    create_user: str


class UnfitFile(DistTaskError):  # noqa: N818  # it is a sentence for a person
    """A file that holds no flow."""


def read_flow(source: str, *, name: str | None, flow_type: str | None) -> FlowFile:
    text = read_text(source)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnfitFile(f"is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UnfitFile("must be a JSON object")
    if "definition" not in data:
        # The text goes on as it is, so that it is checked like a posted definition.
        data = {"name": name or data.get("name"), "flow_type": flow_type, "definition": text}
    return _checked(data, source=source)


def _checked(data: dict[str, Any], *, source: str) -> FlowFile:
    unknown = [key for key in data if key not in KEYS]
    if unknown:
        raise UnfitFile(f"unknown key: {', '.join(unknown[:5])}")
    for key, option in (("name", "--name"), ("flow_type", "--type")):
        if not data.get(key):
            raise UnfitFile(f"{key} is missing (a bare definition takes it from {option})")
    for key in ("name", "flow_type", "description", "create_user"):
        if not isinstance(data.get(key, ""), str):
            raise UnfitFile(f"{key} must be a string")
    given = {"description": "", "create_user": actor(), **data}
    return FlowFile(source=source, **{key: given[key] for key in KEYS})


def read_definition(source: str) -> str | dict[str, Any]:
    """The definition in the file, not checked: where it holds no body with one, the text itself is taken for it."""
    text = read_text(source)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return data["definition"] if isinstance(data, dict) and "definition" in data else text
