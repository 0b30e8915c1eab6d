"""Finds credentials that stand in a connection's configuration itself, where a secret's name belongs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from dist_task.given_secrets import NAME
from dist_task.payload import containers, keys_of, looks_secret
from dist_task.problems import child_path

from .secrets import without_templates

_PLACES = re.compile(
    r"(?i)-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|^\s*(?:bearer|basic|token)\s+\S"
    r"|://[^\s/:@]{0,128}:[^\s/@]{1,256}@"
    r"|\b(?:password|passwd|pwd|secret|token|api[_-]?key)\s*=\s*[^\s;&]"
)
"""Credentials by what stands before or around them: a key's frame, a header's scheme, a URL's user, `password=`."""
_NAMING_KEYS = frozenset({"secret"})
"""Keys under which a secret's name stands, without `${secrets.}` around it."""


def literal_secrets(config: Mapping[str, Any]) -> list[str]:
    """One sentence for each place; it says where, and nothing of what stands there."""
    problems = []
    for container in containers(config):
        members = container.value.items() if isinstance(container.value, dict) else enumerate(container.value)
        for key, value in members:
            if isinstance(value, str | int | float) and not isinstance(value, bool) and _is_literal(key, str(value)):
                path = ""
                for part in (*keys_of(container.link), key):
                    path = child_path(path, part)
                message = _("%(path)s looks like a credential: set it as a secret and write ${secrets.NAME} here")
                problems.append(message % {"path": path})
    return problems


def _is_literal(key: object, text: str) -> bool:
    left = without_templates(text)
    if left != text:  # `Bearer ${secrets.X}`: what stands around a secret is none
        return False
    if isinstance(key, str) and key in _NAMING_KEYS:
        return not NAME.fullmatch(text)
    return bool(_PLACES.search(text)) or (isinstance(key, str) and looks_secret(key) and bool(text))
