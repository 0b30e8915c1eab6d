"""Who calls: the headers of an attempt as a value."""

from __future__ import annotations

import re
from collections.abc import ItemsView, Iterable
from dataclasses import dataclass
from typing import Protocol

from .errors import InvalidCall

ORIGINS = {"action": None, "compensate": "action"}
"""Each direction, and the one that it undoes."""

INSTANCE_ID = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}")
TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
ITEM = re.compile(r"[0-9]{1,9}", re.ASCII)


class Headers(Protocol):
    """A dict, or the headers object of a web framework."""

    def items(self) -> ItemsView[str, str] | Iterable[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A task run: all of its attempts are the same call. `item`: its number in a `foreach`, -1 outside of one."""

    instance_id: str
    task_id: str
    op: str
    item: int = -1

    def __post_init__(self) -> None:
        """Exact forms: MySQL would cut what is too long for its column, and take two calls for one."""
        if not INSTANCE_ID.fullmatch(self.instance_id):
            raise InvalidCall(f"this is no instance_id: {ascii(self.instance_id)[:100]}")
        if not TASK_ID.fullmatch(self.task_id):
            raise InvalidCall(f"this is no id of a task: {ascii(self.task_id)[:100]}")
        if self.op not in ORIGINS:
            raise InvalidCall(f"the op must be action or compensate, not {ascii(self.op)[:100]}")

    @property
    def branch_id(self) -> str:
        return self.task_id if self.item < 0 else f"{self.task_id}/{self.item}"

    @property
    def origin(self) -> str | None:
        """The op that this one undoes."""
        return ORIGINS[self.op]


def call_of(headers: Headers) -> Call:
    """The call that a request with these headers makes. Raises InvalidCall: answer 400 then."""
    known = {name.lower(): value for name, value in headers.items()}
    item = known.get("x-dist-task-item")
    if item is not None and not ITEM.fullmatch(item):
        raise InvalidCall(f"the header X-Dist-Task-Item is no number: {ascii(item)[:100]}")
    return Call(
        instance_id=_as_sent(_required(known, name="X-Dist-Task-Instance")),
        task_id=_required(known, name="X-Dist-Task-Task"),
        op=_required(known, name="X-Dist-Task-Op"),
        item=-1 if item is None else int(item),
    )


def _required(known: dict[str, str], *, name: str) -> str:
    try:
        return known[name.lower()]
    except KeyError:
        raise InvalidCall(f"the header {name} is missing: is this a call of dist_task?") from None


def _as_sent(value: str) -> str:
    """dist_task sends UTF-8, and WSGI and most frameworks read headers as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
