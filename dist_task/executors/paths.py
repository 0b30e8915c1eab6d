"""Paths that tasks name below a connection's `base_url`. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from django.utils.translation import gettext as _

LONGEST_PATH = 2_048
MOST_STARS = 4
MOST_DECODINGS = 5
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f]")
_STARS = re.compile(r"\*\*|\*")


def path_pattern(pattern: str) -> re.Pattern[str]:
    """`*` stands for anything within one segment, `**` for anything; without either it allows what lies below, too."""
    if "*" not in pattern:
        return re.compile(re.escape(pattern.rstrip("/")) + "(?:/.*)?")
    parts, stars = _STARS.split(pattern), _STARS.findall(pattern)
    text = re.escape(parts[0])
    for star, part in zip(stars, parts[1:], strict=True):
        text += (".*" if star == "**" else "[^/]*") + re.escape(part)
    return re.compile(text)


def pattern_problems(patterns: object) -> list[str]:
    if not isinstance(patterns, list):
        return [_("paths must be a list of strings")]
    for pattern in patterns:
        if not isinstance(pattern, str) or path_problem(pattern.replace("*", "a")) or not pattern.startswith("/"):
            return [_("paths must be paths like /v1/orders, in which * and ** stand for anything")]
        if pattern.count("*") > MOST_STARS:
            return [_("a path may have at most %(most)d stars") % {"most": MOST_STARS}]
    return []


def allowed_path(path: str, *, patterns: Collection[re.Pattern[str]]) -> bool:
    """Whether this path may be called; without patterns every one below the base that does not try to leave it."""
    if path_problem(path):
        return False
    decoded = _decoded(path) or "/"
    return not patterns or any(pattern.fullmatch(decoded) for pattern in patterns)


def path_problem(path: object) -> str:
    """Why this is no path below a base, however a service reads it; empty when it is one."""
    if not isinstance(path, str) or (path and not path.startswith("/")):
        return _("path must be a string that begins with /")
    if len(path) > LONGEST_PATH or "?" in path or "#" in path or _CONTROL.search(path):
        return _("path must not have blanks, ? or #, nor over %(most)d characters") % {"most": LONGEST_PATH}
    decoded = _decoded(path)
    if decoded is None or decoded.count("/") != path.count("/") or not _is_plain(decoded):
        return _("path must not have . or .. or empty segments, backslashes or quoted slashes")
    return ""


def _decoded(path: str) -> str | None:
    """Decoded until nothing changes: some services decode twice. None where that does not end, or is no text."""
    for _time in range(MOST_DECODINGS):
        try:
            once = unquote_to_bytes(path).decode()
        except UnicodeError:
            return None
        if once == path:
            return path
        path = once
    return None


def _is_plain(path: str) -> bool:
    """`..;` is `..` for some: what follows a semicolon is a parameter of the segment."""
    if "\\" in path or _CONTROL.search(path.replace(" ", "")):
        return False
    segments = [segment.partition(";")[0].strip() for segment in path.split("/")[1:]]
    return all(segment not in (".", "..") for segment in segments) and all(segments[:-1])
