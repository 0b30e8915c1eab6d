"""Secrets by name: `${secrets.NAME}` in what an author or an admin wrote is filled in right before a call.

Values are found in memory: whoever can read the database, the environment and files puts them here. Where a template
stands is decided by the definition alone (`places`), never by looking at data: who may start a flow must not be able
to name a secret in its parameters, nor a service in its answer. No models here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError
from dist_task.given_secrets import NAME
from dist_task.payload import containers, keys_of
from dist_task.redaction import REDACTOR

TEMPLATE = re.compile(rf"\$\{{secrets\.({NAME.pattern})\}}")
OPENING = "${secrets."

Place = tuple[tuple[Any, ...], tuple[str, ...]]
"""Where in a value a string names secrets (its keys and indexes), and which."""


class Secrets:
    """Those that this process knows, by name."""

    def __init__(self) -> None:
        self._values: Mapping[str, str] = {}
        self._faults: Mapping[str, str] = {}

    def put(self, values: Mapping[str, str], *, faults: Mapping[str, str] | None = None) -> None:
        """All of them: what was put before is forgotten. `faults`: why others that exist cannot be read."""
        self._values, self._faults = dict(values), dict(faults or {})

    def told(self) -> dict[str, Any]:
        """What `put` takes, for a process that makes a call in place of this one."""
        return {"values": self._values, "faults": self._faults}

    def value(self, name: str) -> str:
        """Raises ExecutionError: nothing was called, and a person has to set the secret first."""
        found = self._values.get(name)
        if found is None:
            raise _missing(name, fault=self._faults.get(name, ""))
        REDACTOR.learn(found)
        return found

    def fill(self, value: Any) -> Any:
        """The JSON-like value with the secrets that its strings name; keys stay as they are."""
        return _filled(value, fill_text=self.fill_text)

    def fill_text(self, text: str, *, names: Iterable[str] | None = None, quoted: Callable[[str], str] = str) -> str:
        """With `names` only those are filled in; `quoted` is how a value is written at this place."""
        if OPENING not in text:
            return text

        def value_of(match: re.Match[str]) -> str:
            return quoted(self.value(match[1])) if names is None or match[1] in names else match[0]

        return TEMPLATE.sub(value_of, text)

    def fill_places(self, value: Any, *, places: Iterable[Place]) -> Any:
        """The value with the secrets that its definition names there; what else looks like a template is data."""
        for path, names in places:
            value = self._fill_at(value, path=tuple(path), names=names)
        return value

    def _fill_at(self, value: Any, *, path: tuple[Any, ...], names: Iterable[str]) -> Any:
        """Data may have another shape than the definition expected: then there is nothing to fill in."""
        if not path:
            return self.fill_text(value, names=names) if isinstance(value, str) else value
        key = path[0]
        if isinstance(value, Mapping) and key in value:
            return {**value, key: self._fill_at(value[key], path=path[1:], names=names)}
        if isinstance(value, list) and isinstance(key, int) and key < len(value):
            return [*value[:key], self._fill_at(value[key], path=path[1:], names=names), *value[key + 1 :]]
        return value


SECRETS = Secrets()


def fill(value: Any) -> Any:
    """Raises ExecutionError (NO_SECRET) that names the secret which is missing."""
    return SECRETS.fill(value)


def places(value: Any) -> tuple[Place, ...]:
    """Where a value of a definition names secrets."""
    return tuple(_places(value))


def named_in(config: Mapping[str, Any]) -> set[str]:
    """All that a connection's configuration names: in templates, and by name alone under a key `secret`."""
    names = {name for _path, found in _places(config) for name in found}
    for container in containers(config):
        if isinstance(container.value, dict) and isinstance(name := container.value.get("secret"), str):
            names.add(name)
    return names


def without_templates(text: str) -> str:
    """What is left of a text beside the secrets that it names."""
    return TEMPLATE.sub("", text)


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, str) and (names := TEMPLATE.findall(value)):
        yield (), tuple(names)
    for container in containers(value):
        members = container.value.items() if isinstance(container.value, dict) else enumerate(container.value)
        for key, child in members:
            if isinstance(child, str) and (names := TEMPLATE.findall(child)):
                yield (*keys_of(container.link), key), tuple(names)


def _filled(value: Any, *, fill_text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return fill_text(value)
    if isinstance(value, Mapping):
        return {key: _filled(child, fill_text=fill_text) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(child, fill_text=fill_text) for child in value]
    return value


def _missing(name: str, *, fault: str) -> ExecutionError:
    if fault:
        message = _("the secret %(name)s cannot be read: %(reason)s") % {"name": name, "reason": fault}
    else:
        message = _("the secret %(name)s is not set") % {"name": name}
    return ExecutionError(message, code="NO_SECRET")
