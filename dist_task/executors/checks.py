"""What may stand in the configuration of tasks and connections that call a URL: one sentence per problem. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from dist_task.problems import Fault

from .address import CONTROL, host_problem, target_of
from .secrets import OPENING

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
METHODS = METHODS_WITH_BODY | {"GET", "DELETE"}
FORBIDDEN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "idempotency-key",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def unknown_keys(config: Mapping[str, object], *, known: Iterable[str]) -> list[str]:
    return [
        Fault(_("unknown key %(key)s; known are %(known)s") % {"key": key, "known": ", ".join(sorted(known))}, key=key)
        for key in config
        if key not in known
    ]


def url_problems(url: object) -> list[str]:
    """Of a URL that a flow names itself: its host must be an allowed one."""
    problems = form_problems(url, key="url")
    if problems or not isinstance(url, str):
        return problems
    problem = host_problem(url)
    return [problem] if problem else []


def form_problems(url: object, *, key: str) -> list[str]:
    if not isinstance(url, str) or not url:
        return [_("%(key)s is required and must be a string") % {"key": key}]
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return [_("%(key)s is not a valid URL") % {"key": key}]
    if OPENING in parts.netloc or OPENING in parts.scheme:
        return [_("%(key)s: a secret may not choose the host") % {"key": key}]
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [_("%(key)s must be absolute, like http://payment/deduct") % {"key": key}]
    if CONTROL.search(url) or parts.username is not None:
        return [_("%(key)s must not hold blanks, control characters or a user name") % {"key": key}]
    try:
        target_of(url)
    except ValueError:
        return [_("%(key)s is not a valid URL") % {"key": key}]
    return []


def header_problems(headers: object) -> list[str]:
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        return [_("headers must be an object of strings")]
    problems = []
    for name, value in headers.items():
        if not is_header_allowed(name):
            problems.append(_("the header %(name)s may not be set") % {"name": ascii(name)[:80]})
        elif re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            problems.append(_("the value of the header %(name)s has control characters") % {"name": name})
    return problems


def is_header_allowed(name: str) -> bool:
    is_ours = name.lower() in FORBIDDEN_HEADERS or name.lower().startswith("x-dist-task")
    return TOKEN.fullmatch(name) is not None and not is_ours
