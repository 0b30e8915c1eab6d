"""JSON to and from the outside, and into PostgreSQL's jsonb, which takes less than a stranger may give.

Pure. Nothing here recurses deeper than MOST_DEPTH, whatever it is given.
"""

import json
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
from django.utils.translation import gettext_noop as _

from dist_task.problems import Problem, Problems
from dist_task.redaction import MASKED, REDACTOR

MOST_DEPTH = 200  # of what is stored
MOST_REQUEST_DEPTH = 50  # of what a request may bring
UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # jsonb has no NUL and no lone surrogates
CONTROL = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]")
CUT_DEPTH = "[cut: nested too deeply]"
CIRCULAR = "[cut: contains itself]"
_LARGEST_BITS = 3321  # integers below 10 ** 1000 surely
_PAST_64_BITS = 2**63
_LONG_NUMBER = re.compile(rb"[0-9]{19}")  # orjson makes a float of what is beyond 64 bits


def dumps(value: Any) -> str:
    """JSON text that jsonb takes, whatever `value` is; the same text again for what is read from it.

    What JSON or jsonb cannot hold is replaced: NUL and lone surrogates by U+FFFD, NaN and the infinities by
    the strings "NaN", "Infinity", "-Infinity", integers of over 1,000 digits by a string (hexadecimal), what
    lies deeper than MOST_DEPTH by a marker, keys and objects of other types by their text.
    """
    return dumps_and_changes(value)[0]


def dumps_and_changes(value: Any) -> tuple[str, str]:
    """The same text, and what had to be replaced in it, in words; "" where nothing had to."""
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return _dump_sanitised(value)
    # orjson writes NaN as null, and \0 as an escape that jsonb refuses; few openings cannot be too deep.
    if b"null" in text or b"\\u0000" in text or text.count(b"[") + text.count(b"{") > MOST_DEPTH:
        return _dump_sanitised(value)
    return text.decode(), ""


def body_of(value: Any) -> bytes:
    """The JSON that a service is sent: exact for every JSON value, NaN and the infinities as Python writes them.

    ValueError or TypeError for what JSON does not know. A lone surrogate becomes a question mark.
    """
    try:
        text = orjson.dumps(value)
    except (
        TypeError,
        ValueError,
        RecursionError,
    ):  # integers beyond 64 bits, lone surrogates, keys that are no strings
        text = b"null"
    if b"null" not in text:  # orjson's word for NaN as well
        return text
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


def loads_untrusted(data: bytes | str) -> Any:
    """The value of a stranger's JSON text. ValueError where it is none, or one that Python cannot hold.

    Integers stay exact; NaN and 1e400 become floats (`dumps` stores them as text); over 4,300 digits and a
    depth of about a thousand are a ValueError: the caller keeps the text instead.
    """
    text = data.encode("utf-8", errors="surrogatepass") if isinstance(data, str) else data
    if not _LONG_NUMBER.search(text):
        try:
            return orjson.loads(text)
        except ValueError:
            pass  # what Python reads all the same: NaN, lone surrogates, other encodings
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def check_strict(value: Any, *, path: str) -> list[Problem]:
    """What a request's JSON value must not contain, each with its place (`path` is the name of the root)."""
    problems = Problems(root=path or "body")
    report_faults(value, path=path, problems=problems)
    return problems.report()


def report_faults(
    value: Any,
    *,
    path: str,
    problems: Problems,
    most_depth: int = MOST_REQUEST_DEPTH,
    forbidden: re.Pattern[str] = UNSTORABLE,
) -> None:
    """The same into `problems`, with own limits of depth and of the characters in strings and keys."""
    if fault := _leaf_fault(value, forbidden):
        problems.add(path, fault, hint=_HINTS[fault])
    for container in containers(value, most_depth=most_depth):
        if container.depth > most_depth:
            message = _("is nested deeper than %(most)d levels")
            hint = _("use fewer levels, or write the inner ones as a string")
            problems.add_at(path, keys_of(container.link), message, hint=hint, most=most_depth)
        else:
            _check_members(container, problems=problems, path=path, forbidden=forbidden)


def _check_members(container: "Container", *, problems: Problems, path: str, forbidden: re.Pattern[str]) -> None:
    keys = container.value if isinstance(container.value, dict) else ()
    for key in keys:
        if not isinstance(key, str) or forbidden.search(key):
            link = (container.link, key)
            problems.add_at(path, keys_of(link), _("the key has a character that is not allowed"), hint=_REMOVE)
    for key, child in _members(container.value):
        if child.__class__ in _NEVER_WRONG or (child.__class__ is str and not forbidden.search(child)):
            continue
        if fault := _leaf_fault(child, forbidden):
            problems.add_at(path, keys_of((container.link, key)), fault, hint=_HINTS[fault])


def _leaf_fault(value: Any, forbidden: re.Pattern[str]) -> str:
    """The untranslated sentence about a scalar, "" where it is right (or is no scalar)."""
    if value.__class__ is int and -_PAST_64_BITS <= value < _PAST_64_BITS:
        return ""
    if value is None or isinstance(value, bool | dict | list):
        return ""
    if isinstance(value, str) and forbidden.search(value):
        return _BAD_CHARACTER
    if isinstance(value, int) and not -_PAST_64_BITS <= value < _PAST_64_BITS:
        return _BEYOND_64_BITS
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_FINITE
    return "" if isinstance(value, str | int | float) else _NO_JSON


_BAD_CHARACTER = _("has a character that is not allowed (control character or lone surrogate)")
_BEYOND_64_BITS = _("is an integer beyond 64 bits")
_NOT_FINITE = _("must be a finite number")
_NO_JSON = _("is not a JSON value")
_REMOVE = _("remove the character")
_HINTS = {
    _BAD_CHARACTER: _REMOVE,
    _BEYOND_64_BITS: _("write it as a string"),
    _NOT_FINITE: _("write a number below 1e308, or null"),
    _NO_JSON: _("use strings, numbers, true, false, null, lists and objects"),
}


# -- walking --

Link = tuple[Any, ...]  # (the parent's link, own key), () at the root: a path that nobody has written out yet


# Quick answers for most members: a definition may have a million of them.
_SCALARS = frozenset((str, int, float, bool, type(None)))
_NEVER_WRONG = frozenset((dict, list, bool, type(None)))


class Container(NamedTuple):
    value: Any  # a dict or a list
    link: Link
    depth: int  # 1 for the root


def containers(value: Any, *, most_depth: int = MOST_REQUEST_DEPTH) -> Iterator[Container]:
    """All objects and lists, the outermost first; of those that are too deep only the first level."""
    waiting = deque([Container(value, (), 1)] if isinstance(value, dict | list) else [])
    while waiting:
        container = waiting.popleft()
        yield container
        if container.depth > most_depth:
            continue
        for key, child in _members(container.value):
            if child.__class__ not in _SCALARS and isinstance(child, dict | list):
                waiting.append(Container(child, (container.link, key), container.depth + 1))


def strings(value: Any) -> Iterator[tuple[Link, str]]:
    """All strings, keys included, with their links."""
    for container in containers(value):
        for key, child in _members(container.value):
            if isinstance(key, str):
                yield (container.link, key), key
            if isinstance(child, str):
                yield (container.link, key), child


def keys_of(link: Link) -> list[Any]:
    """The keys and indexes from the root to the member."""
    keys = []
    while link:
        link, key = link
        keys.append(key)
    return keys[::-1]


def _members(container: Any) -> Iterator[tuple[Any, Any]]:
    return iter(container.items()) if isinstance(container, dict) else enumerate(container)


# -- sanitising --


Noted = TypeVar("Noted")
CHANGED_TEXT = "characters that cannot be stored (NUL, lone surrogates) became U+FFFD"
CHANGED_NUMBER = "numbers that cannot be stored became text"
CHANGED_DEPTH = f"what lies deeper than {MOST_DEPTH} levels, or contains itself, was cut"


def _dump_sanitised(value: Any) -> tuple[str, str]:
    changes: dict[str, None] = {}
    clean = _sanitise(value, depth=1, parents=frozenset(), changes=changes)
    try:
        text = orjson.dumps(clean).decode()
    except (TypeError, ValueError):  # integers beyond 64 bits: slower, but exact
        text = json.dumps(clean, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text, "; ".join(changes)


def _sanitise(value: Any, *, depth: int, parents: frozenset[int], changes: dict[str, None]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _noted(_storable(value), value, changes=changes, change=CHANGED_TEXT)
    if isinstance(value, int):
        whole = int(value) if value.bit_length() <= _LARGEST_BITS else hex(value)
        return _noted(whole, value, changes=changes, change=CHANGED_NUMBER)
    if isinstance(value, float):
        number = float(value) if math.isfinite(value) else _name_of(value)
        return _noted(number, value, changes=changes, change=CHANGED_NUMBER)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _sanitise_container(value, depth=depth, parents=parents, changes=changes)
    return _text_of(value)


def _sanitise_container(value: Any, *, depth: int, parents: frozenset[int], changes: dict[str, None]) -> Any:
    if depth > MOST_DEPTH or id(value) in parents:
        changes[CHANGED_DEPTH] = None
        return CUT_DEPTH if depth > MOST_DEPTH else CIRCULAR
    inner = partial(_sanitise, depth=depth + 1, parents=parents | {id(value)}, changes=changes)
    if isinstance(value, Mapping):
        return {_key(key, changes=changes): inner(child) for key, child in value.items()}
    return [inner(child) for child in value]


def _noted(clean: Noted, value: object, *, changes: dict[str, None], change: str) -> Noted:
    if clean != value:
        changes[change] = None
    return clean


def _storable(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", str(text))


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _key(key: Any, *, changes: dict[str, None]) -> str:
    if isinstance(key, str):
        return _noted(_storable(key), key, changes=changes, change=CHANGED_TEXT)
    clean = _sanitise(key, depth=MOST_DEPTH + 1, parents=frozenset(), changes=changes)
    return clean if isinstance(clean, str) else json.dumps(clean)


def _text_of(value: Any) -> str:
    if isinstance(value, bytes | bytearray):
        return _storable(bytes(value).decode(errors="replace"))
    try:
        return _storable(str(value))
    except Exception:  # noqa: BLE001  # a stranger's __str__ must not stop the write of his result
        return f"[{type(value).__name__}]"


# -- for logs --

_SECRET = re.compile(r"authorization|password|passwd|token|secret|api[_-]?key|cookie|credential|private[_-]?key", re.I)
# The same in text of lower case, by its first letters: that is ten times as fast as ignoring the case. And \\u and @.
_HINT = re.compile(
    rb"a(?:uthorization|pi[_-]?key)|pass(?:word|wd)|private[_-]?key|token|secret|c(?:ookie|redential)|@|\\u"
)
# What `_SECRET`, which ignores the case, takes for i, s and k.
_FOREIGN_HINTS = tuple(letter.encode() for letter in "\u0130\u0131\u017f\u212a")
# In URLs: the values of secret-looking query parameters, and user:password@. Bounded, so as to stay linear.
_QUERY = re.compile(r"(?<=[?&])([^\s=&#\"'?]{1,64})=([^\s&#\"']*)")
_USER = re.compile(r"://[^\s/:@\"']{0,128}:[^\s/@\"']{1,256}@")


def for_log(value: Any, *, text: bytes, limit: int) -> Any:
    """The value masked, then capped. `text` is the JSON that it was read from or is sent as.

    Most texts are short and hold nothing that could be a secret: one search over them spares walking the value. An
    escape might hide a key's name from that search. What is not cut is rid of resolved secrets when it becomes a row.
    """
    if len(text) <= limit and not _may_hold_secret(text):
        return value
    return capped(mask(value), limit=limit)


def _may_hold_secret(text: bytes) -> bool:
    """Cheap, and never no where `mask` would find one."""
    if _HINT.search(text.lower()):
        return True
    return not text.isascii() and any(letter in text for letter in _FOREIGN_HINTS)


def mask(value: Any) -> Any:
    """The value without what looks like a secret, by its key or its place in a URL. Comes before any cut."""
    return _mask(redact(value) if REDACTOR.is_needed else value, depth=1)


def redact(value: Any) -> Any:
    """The value without what this process has resolved as a secret, wherever it stands. Comes before any cut."""
    return _redact(value, depth=1) if REDACTOR.finds(value) else value


def looks_secret(key: str) -> bool:
    """Whether what stands under such a key is to be masked."""
    return _SECRET.search(key) is not None


def capped(value: Any, *, limit: int) -> Any:
    """The value cut for a log: about `limit` characters in all; every cut says how long the original was."""
    return _cap(value, budget=_Budget(limit), depth=1)


def _mask(value: Any, *, depth: int) -> Any:
    if isinstance(value, str):
        return _mask_text(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth > MOST_DEPTH:
        return CUT_DEPTH
    if isinstance(value, Mapping):
        return {key: _mask_member(key, child, depth=depth + 1) for key, child in value.items()}
    return [_mask(child, depth=depth + 1) for child in value]


def _redact(value: Any, *, depth: int) -> Any:
    if isinstance(value, str):
        return REDACTOR.text(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _redact_container(value, depth=depth) if depth <= MOST_DEPTH else CUT_DEPTH
    if value is None or isinstance(value, bool):
        return value
    text = _text_of(value)
    return value if REDACTOR.text(text) == text else REDACTOR.text(text)


def _redact_container(value: Any, *, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {
            REDACTOR.text(key) if isinstance(key, str) else key: _redact(child, depth=depth + 1)
            for key, child in value.items()
        }
    return [_redact(child, depth=depth + 1) for child in value]


def _mask_member(key: Any, value: Any, *, depth: int) -> Any:
    if value is not None and isinstance(key, str) and _SECRET.search(key):
        return MASKED
    return _mask(value, depth=depth)


def _mask_text(text: str) -> str:
    if "=" in text:
        text = _QUERY.sub(_mask_parameter, text)
    return _USER.sub(f"://{MASKED}@", text) if "@" in text else text


def _mask_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={MASKED}" if _SECRET.search(match[1]) else match[0]


class _Budget:
    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, cost: int) -> None:
        self.left = max(0, self.left - cost)


def _cap(value: Any, *, budget: _Budget, depth: int) -> Any:
    if isinstance(value, str | bytes | bytearray):
        return _cap_text(value, budget=budget)
    if isinstance(value, Mapping | list | tuple):
        return _cap_container(value, budget=budget, depth=depth) if depth <= MOST_DEPTH else CUT_DEPTH
    budget.spend(8 + value.bit_length() // 3 if isinstance(value, int) else 8)
    return value


def _cap_text(value: str | bytes | bytearray, *, budget: _Budget) -> str:
    kept, length = value[: budget.left], len(value)
    budget.spend(length)
    text = kept if isinstance(kept, str) else _text_of(kept)
    return text if len(kept) == length else text + _cut(length)


def _cap_container(value: Any, *, budget: _Budget, depth: int) -> Any:
    is_object = isinstance(value, Mapping)
    kept: dict[Any, Any] = {}
    for index, (key, child) in enumerate(value.items() if is_object else enumerate(value)):
        if budget.left <= 0:
            kept["…"] = f"[cut: {len(value)} members, {index} kept]"
            break
        if isinstance(key, str):
            key = _cap_text(key, budget=budget)
        kept[key] = _cap(child, budget=budget, depth=depth + 1)
    return kept if is_object else list(kept.values())


def _cut(length: int) -> str:
    return f"… [cut: {length} in all]"
