"""What changed from one version of a flow to another: line by line of their canonical JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST_COMPARED = 4_000
"""Lines between what both begin and end with; beyond it the comparison itself takes seconds."""
CONTEXT = 3


@dataclass(frozen=True, slots=True)
class Line:
    """`kind` is "same", "added", "removed" or "gap"; a number is None where that side has no such line."""

    kind: str
    text: str
    before: int | None = None
    after: int | None = None


class TooLarge(ValueError):
    """The two differ in more lines than are compared."""


def canonical(definition: str) -> list[str]:
    """Sorted keys and one value a line, so that only what means something differs."""
    try:
        return json.dumps(json.loads(definition), indent=2, sort_keys=True, ensure_ascii=False).splitlines()
    except (ValueError, RecursionError):
        return definition.splitlines()


def difference(before: str, after: str) -> list[Line]:
    """The lines that differ with a few around them; empty where nothing does. Raises TooLarge."""
    old, new = canonical(before), canonical(after)
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    if max(len(old), len(new)) - head - tail > MOST_COMPARED:
        raise TooLarge
    middle = SequenceMatcher(None, old[head : len(old) - tail], new[head : len(new) - tail], autojunk=False)
    changes = [
        (tag, a1 + head, a2 + head, b1 + head, b2 + head)
        for tag, a1, a2, b1, b2 in middle.get_opcodes()
        if tag != "equal"
    ]
    return list(_with_context(changes, old=old, new=new))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _with_context(
    changes: Sequence[tuple[str, int, int, int, int]], *, old: Sequence[str], new: Sequence[str]
) -> Iterator[Line]:
    shown = 0  # lines of `old` that are behind us
    for number, (_tag, a1, a2, b1, b2) in enumerate(changes):
        start = max(shown, a1 - CONTEXT)
        if start > shown or (number == 0 and start):
            yield Line("gap", "")
        for index in range(start, a1):
            yield Line("same", old[index], index + 1, b1 - (a1 - index) + 1)
        yield from (Line("removed", old[index], index + 1) for index in range(a1, a2))
        yield from (Line("added", new[index], None, index + 1) for index in range(b1, b2))
        following = changes[number + 1][1] if number + 1 < len(changes) else len(old)
        shown = min(a2 + CONTEXT, following)
        for index in range(a2, shown):
            yield Line("same", old[index], index + 1, b2 + (index - a2) + 1)
    if changes and shown < len(old):
        yield Line("gap", "")
