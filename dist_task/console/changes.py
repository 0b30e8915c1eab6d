"""What changed from one piece of JSON to another, line by line, as far as a page has room for it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from flows.difference import Line, TooLarge, difference

ROOM = 36_000
"""Bytes of a page."""
BESIDE_A_LINE = 120


@dataclass(frozen=True, slots=True)
class Changes:
    lines: tuple[Line, ...] = ()
    is_cut: bool = False
    is_too_large: bool = False

    @property
    def most_bytes(self) -> int:
        """Of one line: the room is theirs together."""
        return ROOM


def changes(before: Any, after: Any) -> Changes:
    """Without lines where the two say the same. None before: there was nothing."""
    try:
        lines = difference("" if before is None else canonical(before), canonical(after))
    except TooLarge:
        return Changes(is_too_large=True)
    shown = tuple(_within(lines))
    return Changes(shown, is_cut=len(shown) < len(lines))


def canonical(value: Any) -> str:
    """The same text for the same JSON; true is not 1."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def bytes_in_page(text: str) -> int:
    return len(escape(text).encode("utf-8", "replace"))


def _within(lines: Iterable[Line]) -> Iterator[Line]:
    room = ROOM
    for line in lines:
        room -= bytes_in_page(line.text) + BESIDE_A_LINE
        if room < 0:
            return
        yield line
