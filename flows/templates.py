"""`${...}` in a task's `input` and `config`: dotted lookups, read once when a flow is posted. Pure.

Nothing is evaluated, and what is looked up is never read as a template again: a transaction's parameters may hold
any text. A string that is one template keeps the value's type; inside a longer string the value is written as text.
`$${` stands for a literal `${`.
"""

import re
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from django.utils.translation import gettext_noop as _

from dist_task.payload import MOST_REQUEST_DEPTH, Link, keys_of, strings
from dist_task.problems import Meant, Problems, child_path, shown
from flows.fields import InvalidInput
from flows.filling import (
    Filling,
    Leaf,
    ListNode,
    Lookup,
    Node,
    ObjectNode,
    Secret,
    Values,
    Write,
    as_part_of_path,
    as_part_of_query,
    as_text,
    joined,
)

MOST_TEMPLATES = 100_000  # in a definition
LONGEST_TEMPLATE = 500  # characters between the braces
ROOTS = frozenset(("input", "output", "params", "tasks", "instance_id", "item", "index", "secrets"))
ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")  # like the id of a task
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_KEY = re.compile(r"[^\s\0-\x1f\x7f-\x9f.$(){}\[\]'\"`]+")
_LEAVES = frozenset(("instance_id", "index"))  # roots without members
_FIXED_HOST = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#\\\s\0-\x1f\x7f]+[/?].*", re.DOTALL)
_NOT_BEFORE = _("${%(template)s}: this task does not depend on %(id)s, whose output may not be there yet")
_TO_DEPEND = _('add "%(id)s" to depends_on')
_LOOKUPS = _("for example ${params.amount}, ${tasks.reserve.output.id} or ${instance_id}")
_JSON_PATH = re.compile(r"\$((?:\.[^.\[\]]+|\[[0-9]+\])+)")


@dataclass(frozen=True, slots=True)
class Scope:
    """What the templates of one place may refer to.

    `aliases` (see `read_aliases`) are other names of tasks. `ancestors` are the ids of the tasks that have ended before
    this one begins, `ids` those of all tasks.
    """

    roots: Collection[str]
    ids: Collection[str] = ()
    ancestors: Container[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON-like value whose strings have been read. `needs` are ids of tasks, `secrets` names."""

    _node: Any
    count: int = 0
    needs: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()

    @property
    def is_constant(self) -> bool:
        """Whether `fill` gives the same object every time, whatever the values (which nobody may change then)."""
        return not self.count

    def fill(self, values: Values) -> Any:
        """The value with every template replaced; InvalidInput names all lookups that found nothing.

        It shares what is constant with the template, and what was looked up with the values.
        """
        if not self.count:
            return self._node
        filling = Filling(values)
        filled = self._node.fill(filling)
        if filling.problems:
            raise InvalidInput(filling.problems.report())
        return filled


# -- reading --


def read(
    value: Any,
    *,
    path: str,
    problems: Problems,
    scope: Scope,
    url_keys: Collection[str] = (),
    text_keys: Collection[str] = (),
) -> Template:
    """Every string of `value`; malformed templates are reported with their paths.

    Strings under the top-level `url_keys` are URLs: what is looked up there is percent-encoded, so that it stays one
    part of the path or of the query. Under `text_keys` a string stays one, also where it is a single template.
    """
    reading = _Reading(path, problems, scope, url_keys, text_keys)
    node = reading.read(value, link=(), depth=1)
    return Template(node, reading.count, frozenset(reading.needs), frozenset(reading.secrets))


def read_config(
    config: Mapping[str, Any],
    *,
    path: str,
    problems: Problems,
    scope: Scope,
    fixed_keys: Collection[str] = (),
    url_keys: Collection[str] = ("url",),
    path_keys: Collection[str] = ("path",),
    text_keys: Collection[str] = ("headers",),
) -> Template:
    """A task's config: no templates under `fixed_keys`, nor in the part of a URL that says where it leads."""
    for key in config:
        if key in fixed_keys:
            refuse_templates(config[key], path=child_path(path, key), problems=problems)
    for key in url_keys:
        if isinstance(url := config.get(key), str) and not host_is_fixed(url):
            message = _("a template may stand in the path and the query of a URL only, not in its scheme, host or port")
            problems.add_at(path, (key,), message, hint=_("write the host out, or name a registered connection"))
    url_keys = (*url_keys, *path_keys)
    return read(config, path=path, problems=problems, scope=scope, url_keys=url_keys, text_keys=text_keys)


def refuse_templates(value: Any, *, path: str, problems: Problems) -> None:
    """Reports every template in a value that chooses a host, a table, a column, a connection or the like."""
    found = [()] if isinstance(value, str) and "${" in value else []
    found += [link for link, text in strings(value) if "${" in text]
    for link in found:
        message = _("a template is refused here: this is not for the data of a transaction to choose")
        problems.add_at(path, keys_of(link), message, hint=_("write the value itself"))


def host_is_fixed(url: str) -> bool:
    """Whether every template of the URL stands behind its host and port, and a / or ? that ends them."""
    first = url.find("${")
    return first < 0 or _FIXED_HOST.fullmatch(url[:first]) is not None


def report_count(templates: Iterable[Template], *, path: str, problems: Problems) -> None:
    """Whether a definition has more of them than it may."""
    count = sum(template.count for template in templates)
    if count > MOST_TEMPLATES:
        message = _("has %(count)d templates; a flow may have %(most)d")
        problems.add(path, message, hint=_("split it into several flows"), count=count, most=MOST_TEMPLATES)


def read_aliases(outputs: Iterable[tuple[str, str, Any]], *, ids: Container[str], problems: Problems) -> dict[str, str]:
    """Alias to task id, from (path of the task, its id, its `output`); clashes are reported."""
    aliases: dict[str, str] = {}
    for path, task_id, alias in outputs:
        fault = ""
        if not isinstance(alias, str) or not ALIAS.fullmatch(alias):
            fault = _("must be 1 to 64 letters, digits, _ or -, and not begin with -")
        elif alias in ids and alias != task_id:
            fault = _("%(alias)s is the id of another task")
        elif aliases.setdefault(alias, task_id) != task_id:
            fault = _("%(alias)s is the output of task %(other)s too")
        if fault:
            problems.add_at(path, ("output",), fault, alias=shown(alias), other=aliases.get(str(alias), ""))
    return aliases


def from_input_from(value: Any, *, path: str, problems: Problems) -> dict[str, str]:
    """An `input_from` block as an `input` of templates: `$.TASK.a[0].b`, `$.params.x`, `$.instance_id`."""
    if not isinstance(value, dict):
        problems.add(path, _("must be an object"))
        return {}
    found = {}
    for key, text in value.items():
        match = _JSON_PATH.fullmatch(text) if isinstance(text, str) and len(text) <= LONGEST_TEMPLATE else None
        if match is None:
            problems.add_at(path, (key,), _("must be a path such as $.task_1.result or $.params.x"))
        else:
            found[key] = f"${{{_from_json_path(match[1])}}}"
    return found


def _from_json_path(path: str) -> str:
    root, *keys = path.replace("[", ".").replace("]", "").split(".")[1:]
    if root not in ("params", "instance_id"):
        root = f"tasks.{root}.output"
    return ".".join((root, *keys))


class _Reading:
    """One `read`: what its strings have in common."""

    def __init__(
        self, path: str, problems: Problems, scope: Scope, url_keys: Collection[str], text_keys: Collection[str]
    ) -> None:
        self.path = path
        self.problems = problems
        self.scope = scope
        self.url_keys = url_keys
        self.text_keys = text_keys
        self.count = 0
        self.needs: set[str] = set()
        self.secrets: set[str] = set()

    def refuse(
        self, link: Link, message: str, /, *, meant: Meant | None = None, hint: str = "", **parameters: object
    ) -> None:
        self.problems.add_at(self.path, keys_of(link), message, meant=meant, hint=hint, **parameters)

    def read(self, value: Any, *, link: Link, depth: int, is_url: bool = False, is_text: bool = False) -> Any:
        """The value itself where it holds no template, else a node with `fill`."""
        if isinstance(value, str):
            return self._read_string(value, link, is_url, is_text) if "${" in value else value
        if not isinstance(value, dict | list):
            return value
        if depth > MOST_REQUEST_DEPTH:
            hint = _("use fewer levels, or write the inner ones as a string")
            self.refuse(link, _("is nested deeper than %(most)d levels"), hint=hint, most=MOST_REQUEST_DEPTH)
            return value
        if isinstance(value, dict):
            return self._read_object(value, link, depth, is_text)
        nodes = [self.read(child, link=(link, index), depth=depth + 1) for index, child in enumerate(value)]
        return ListNode(nodes) if any(isinstance(node, Node) for node in nodes) else _same(value, nodes)

    def _read_object(self, value: dict[str, Any], link: Link, depth: int, is_text: bool) -> Any:
        nodes = {}
        for key, child in value.items():
            if isinstance(key, str) and "${" in key:
                self.refuse((link, key), _("a key cannot hold a template"), hint=_("write the key itself"))
            is_url = not link and key in self.url_keys
            stays_text = is_text or (not link and key in self.text_keys)
            nodes[key] = self.read(child, link=(link, key), depth=depth + 1, is_url=is_url, is_text=stays_text)
        changing = [(key, node) for key, node in nodes.items() if isinstance(node, Node)]
        return ObjectNode(nodes, changing) if changing else _same(value, nodes)

    def _read_string(self, text: str, link: Link, is_url: bool, is_text: bool) -> Any:
        """Linear: every character is passed once."""
        parts: list[str | Leaf] = []
        write = as_part_of_path if is_url else as_text
        end = 0
        while (start := text.find("${", end)) >= 0:
            if start > end and text[start - 1] == "$":
                parts += (text[end : start - 1], "${")
                end = start + 2
                continue
            close = text.find("}", start)
            if close < 0:
                message = _("a template ${ is not closed by }; $${ stands for the two characters themselves")
                self.refuse(link, message, hint=_("write } behind it"))
                return text
            if is_url and "?" in text[end:start]:
                write = as_part_of_query
            parts += (text[end:start], self._read_template(text[start + 2 : close], link, write))
            end = close + 1
        parts.append(text[end:])
        return joined([part for part in parts if part != ""], keeps_type=not (is_url or is_text))

    def _read_template(self, text: str, link: Link, write: "Write") -> "str | Leaf":
        """Its node; "" in place of a malformed one."""
        self.count += 1
        keys = text.split(".") if len(text) <= LONGEST_TEMPLATE else []
        if fault := _form_fault(text, keys) or self._root_fault(keys):
            roots = ", ".join(sorted(self.scope.roots))
            named = {"template": shown(text), "id": shown("".join(keys[1:2]))}
            meant, hint = self._meant(keys), _TO_DEPEND if fault == _NOT_BEFORE else _LOOKUPS
            self.refuse(link, fault, meant=meant, hint=hint, roots=roots, longest=LONGEST_TEMPLATE, **named)
            return ""
        if keys[0] == "secrets":
            self.secrets.add(keys[1])
            return Secret(text, keys, self._path_of(link), write)
        if keys[0] == "tasks":
            keys[1] = self._id_of(keys[1])
            self.needs.add(keys[1])
        return Lookup(text, keys, self._path_of(link), write)

    def _root_fault(self, keys: list[str]) -> str:
        root = keys[0]
        if root not in ROOTS:
            return _("there is no ${%(template)s}; templates begin with one of: %(roots)s")
        if root not in self.scope.roots:
            return _("${%(template)s} is not known here; templates begin with one of: %(roots)s")
        if root in _LEAVES and len(keys) > 1:
            return _("${%(template)s}: it has no members")
        if root == "secrets" and (len(keys) != 2 or not SECRET_NAME.fullmatch(keys[1])):
            return _("${%(template)s}: must be secrets.NAME, of letters, digits and _")
        return self._task_fault(keys) if root == "tasks" else ""

    def _task_fault(self, keys: list[str]) -> str:
        if len(keys) < 3 or keys[2] != "output":
            return _("${%(template)s}: must be tasks.ID.output, and what of it")
        if (task_id := self._id_of(keys[1])) not in self.scope.ids:
            return _("there is no task %(id)s")
        if task_id not in self.scope.ancestors:
            return _NOT_BEFORE
        return ""

    def _meant(self, keys: list[str]) -> Meant | None:
        """Of a refused template: what its root, or its task, may have been meant to be."""
        if keys and keys[0] not in self.scope.roots:
            return Meant(keys[0], self.scope.roots)
        if len(keys) > 1 and keys[0] == "tasks" and self._id_of(keys[1]) not in self.scope.ids:
            return Meant(keys[1], self.scope.ids)
        return None

    def _id_of(self, name: str) -> str:
        return name if name in self.scope.ids else self.scope.aliases.get(name, name)

    def _path_of(self, link: Link) -> str:
        return reduce(child_path, keys_of(link), self.path)


def _form_fault(text: str, keys: list[str]) -> str:
    if not text.strip():
        return _("a template ${} is empty")
    if len(text) > LONGEST_TEMPLATE:
        return _("a template has more than %(longest)d characters")
    if not all(_KEY.fullmatch(key) for key in keys):
        return _("${%(template)s} is not a lookup such as params.order.items.0.id")
    return ""


def _same(value: Any, nodes: Any) -> Any:
    """A value without templates: itself, unless a `$${` in it has been read."""
    return value if nodes == value else nodes
