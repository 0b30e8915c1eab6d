"""The nodes of read templates, and what they are filled with. Pure; `templates` reads them and says what they mean."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import quote

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_noop as _

from dist_task.payload import body_of
from dist_task.problems import Problems, shown

LONGEST_TEXT = 1_048_576  # characters that one `fill` may write into strings
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_SHOWN_KEYS = 10


@dataclass(frozen=True, slots=True)
class Values:
    """What templates are filled with. `outputs` has an entry for each task that has ended, null for a skipped one.

    Without `secrets`, `${secrets.NAME}` is written as it is: such a value may be stored and shown. With them it holds
    secrets, and goes nowhere but into the call.
    """

    instance_id: str
    params: Any = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    input: Any = None
    output: Any = None
    item: Any = None
    index: int | None = None
    secrets: Mapping[str, str] | None = field(default=None, repr=False)


# -- writing --

Write = Callable[[Any], str]


class _Misfit(Exception):
    """The value cannot be written here; the argument is the untranslated sentence."""


def as_text(value: Any) -> str:
    """Strings as they are, everything else as compact JSON."""
    return value if isinstance(value, str) else body_of(value).decode()


def as_part_of_query(value: Any) -> str:
    """Percent-encoded as a whole, so that it stays one parameter."""
    return quote(as_text(value).encode(errors="replace"), safe="")


def as_part_of_path(value: Any) -> str:
    """The same; and never nothing, which would make another path (`DELETE /users/`), nor the dots that lead upwards."""
    text = as_text(value)
    if value is None or text in ("", ".", ".."):
        raise _Misfit(_("${%(template)s}: null, an empty text and dots cannot stand in the path of a URL"))
    return as_part_of_query(text)


# -- filling --


class Filling:
    """One `fill`: its values, and what it has met."""

    __slots__ = ("problems", "room", "values")

    def __init__(self, values: Values) -> None:
        self.values = values
        self.problems = Problems(root="input")
        self.room = LONGEST_TEXT


class Node:
    __slots__ = ()

    def fill(self, filling: Filling) -> Any:
        raise NotImplementedError


class ObjectNode(Node):
    __slots__ = ("_all", "_changing")

    def __init__(self, nodes: dict[str, Any], changing: list[tuple[str, Node]]) -> None:
        self._all = nodes
        self._changing = changing

    def fill(self, filling: Filling) -> Any:
        filled = self._all.copy()
        for key, node in self._changing:
            filled[key] = node.fill(filling)
        return filled


class ListNode(Node):
    __slots__ = ("_nodes",)

    def __init__(self, nodes: list[Any]) -> None:
        self._nodes = nodes

    def fill(self, filling: Filling) -> Any:
        return [node.fill(filling) if isinstance(node, Node) else node for node in self._nodes]


def joined(parts: "list[str | Leaf]", *, keeps_type: bool) -> Any:
    """A string's parts put together: a text, its only template, or a node that joins them."""
    if all(isinstance(part, str) for part in parts):
        return "".join(str(part) for part in parts)
    return parts[0] if len(parts) == 1 and keeps_type else JoinedNode(parts)


class JoinedNode(Node):
    __slots__ = ("_parts",)

    def __init__(self, parts: "list[str | Leaf]") -> None:
        self._parts = parts

    def fill(self, filling: Filling) -> str:
        return "".join(part if isinstance(part, str) else part.write(filling) for part in self._parts)


class Leaf(Node):
    """One template: its text, the keys of its lookup, its place in the definition, and how it is put into a text."""

    __slots__ = ("_keys", "_path", "_text", "_write")

    def __init__(self, text: str, keys: list[str], path: str, write: Write) -> None:
        self._text = text
        self._keys = keys
        self._path = path
        self._write = write

    def write(self, filling: Filling) -> str:
        known = len(filling.problems)
        value = self.fill(filling)
        if filling.room < 0 or len(filling.problems) > known:
            return ""
        try:
            text = self._write(value)
        except _Misfit as misfit:
            self._refuse(filling, *misfit.args)
            return ""
        filling.room -= len(text)
        if filling.room < 0:
            self._refuse(filling, _("the texts with templates have more than %(most)d characters"), most=LONGEST_TEXT)
        return text

    def _refuse(self, filling: Filling, message: str, /, **parameters: Any) -> None:
        filling.problems.add(self._path, message, template=self._text, **parameters)


class Secret(Leaf):
    __slots__ = ()

    def fill(self, filling: Filling) -> str | None:
        secrets = filling.values.secrets
        if secrets is None:
            return f"${{{self._text}}}"
        if (name := self._keys[1]) in secrets:
            return secrets[name]
        self._refuse(filling, _("${%(template)s}: there is no such secret"))
        return None

    def write(self, filling: Filling) -> str:
        return f"${{{self._text}}}" if filling.values.secrets is None else super().write(filling)


class Lookup(Leaf):
    __slots__ = ("_begin", "_steps")

    def __init__(self, text: str, keys: list[str], path: str, write: Write) -> None:
        super().__init__(text, keys, path, write)
        self._begin = 3 if keys[0] == "tasks" else 1
        self._steps = [(key, int(key) if _INDEX.fullmatch(key) else -1) for key in keys[self._begin :]]

    def fill(self, filling: Filling) -> Any:
        if self._begin == 1:
            found = getattr(filling.values, self._keys[0])
        elif (task_id := self._keys[1]) in filling.values.outputs:
            found = filling.values.outputs[task_id]
        else:
            return self._refuse(filling, _("${%(template)s}: the task %(id)s has no output"), id=task_id)
        for number, (key, index) in enumerate(self._steps):
            if isinstance(found, Mapping):
                if key not in found:
                    return self._miss(filling, number, found)
                found = found[key]
            elif isinstance(found, list) and 0 <= index < len(found):
                found = found[index]
            else:
                return self._miss(filling, number, found)
        return found

    def _miss(self, filling: Filling, number: int, found: Any) -> None:
        message = _("${%(template)s}: there is no %(key)s in %(place)s, which is %(found)s")
        place = ".".join(self._keys[: self._begin + number])
        return self._refuse(filling, message, key=self._steps[number][0], place=place, found=_described(found))


def _described(value: Any) -> str:
    """What it is, never what it holds: it goes to logs and to people."""
    if isinstance(value, Mapping):
        names = [shown(key) for key in islice(value, _SHOWN_KEYS)] + ["…"] * (len(value) > _SHOWN_KEYS)
        return (
            gettext("an object with: %(names)s") % {"names": ", ".join(names)} if names else gettext("an empty object")
        )
    if isinstance(value, list):
        return ngettext("a list of %(count)d item", "a list of %(count)d items", len(value)) % {"count": len(value)}
    if value is None:
        return gettext("null")
    if isinstance(value, bool):
        return gettext("true or false")
    return gettext("a text") if isinstance(value, str) else gettext("a number")
