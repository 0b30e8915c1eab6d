"""What came from outside as text to read: marks that turn lines round are made visible, all of it is capped. Pure."""

from __future__ import annotations

import json
import re
from html import escape
from unicodedata import east_asian_width

from django.utils.translation import gettext

INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""Controls, and what turns the direction of text round or hides in it: shown as their code points."""
AS_TYPED = re.compile(rf'<textarea\b.*?</textarea>|\bvalue="[^"]*"|(?P<mark>{INVISIBLE.pattern})', re.DOTALL)
"""What of a page is edited, and comes back as it was; or a mark anywhere else."""
LONGEST_JSON_BYTES = 20_000


def plain(text: object) -> str:
    """The text with everything visible that a browser would obey."""
    return INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))


def plain_page(page: str) -> str:
    """A page of escaped text as `plain` would have it, whoever wrote its parts; what a form holds is left alone."""
    if not INVISIBLE.search(page):  # nearly always, and soon found
        return page
    return AS_TYPED.sub(lambda found: plain(found[0]) if found["mark"] else found[0], page)


def short(text: object, length: int = 120) -> str:
    """One line of at most `length` characters, however long the text is."""
    value = str(text)
    line = plain(" ".join(value[: length * 2].split()))
    return line if len(line) <= length and len(value) <= length * 2 else line[: length - 1] + "…"


def brief(text: object, most_bytes: int = 160) -> str:
    """As `short`, by the bytes that it takes in a page: of a text of angle brackets there is less to see."""
    line, room = short(text, most_bytes), most_bytes
    for position, character in enumerate(line):
        room -= len(escape(character).encode("utf-8", "replace"))
        if room < 0:
            return line[:position] + "…"
    return line


def narrowed(text: object, columns: int) -> str:
    """As `short`, by the room that it takes: a Chinese character is as wide as two letters."""
    line, room = short(text, columns * 2), columns
    for position, character in enumerate(line):
        room -= 2 if east_asian_width(character) in "WF" else 1
        if room < 0:
            return line[: max(position - 1, 1)] + "…"
    return line


def fitted(text: str, *, most_bytes: int) -> str:
    """The beginning of the text that takes at most so many bytes in a page, and a word where something was cut."""
    head, is_cut = plain(text[:most_bytes]), len(text) > most_bytes
    room = most_bytes
    for position, character in enumerate(head):
        room -= len(escape(character).encode("utf-8", "replace"))
        if room < 0:
            head, is_cut = head[:position], True
            break
    if not is_cut:
        return head
    return head + "\n… " + gettext("cut after %(count)d characters") % {"count": len(head)}


def pretty(value: object, *, most_bytes: int = LONGEST_JSON_BYTES) -> str:
    """JSON as text to read, cut where a page would become too heavy."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return fitted(text, most_bytes=most_bytes)
