"""A registered connection as `http` and `rpc` use it: where it leads, what may be called there, and with which right.

What a flow's author writes is one path below `base_url`, judged as the service may read it: decoded as often as it can
be decoded, so that no spelling of `..` or of a slash leaves the allowed paths.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError
from dist_task.problems import Fault
from dist_task.redaction import REDACTOR

from . import failures
from .checks import METHODS, form_problems, header_problems, is_header_allowed, unknown_keys
from .connections import CONNECTIONS, Connection
from .paths import allowed_path, path_pattern, path_problem, pattern_problems
from .route import Route
from .secrets import NAME, SECRETS
from .tls import tls_context_of, tls_problems

KEYS = {
    "http": frozenset({"base_url", "methods", "paths", "headers", "auth", "tls", "timeout", "cap", "private"}),
    "rpc": frozenset({"base_url", "methods", "headers", "auth", "tls", "timeout", "cap", "private"}),
}
AUTH_KEYS = {
    "bearer": frozenset({"type", "secret"}),
    "basic": frozenset({"type", "username", "secret"}),
    "header": frozenset({"type", "secret", "header", "prefix"}),
}
MOST_TIMEOUT_SECONDS = 86_400
MOST_CAP = 10_000


@dataclass(slots=True, eq=False)
class Endpoint:
    """Made once for each version of a connection. `route` keeps what TLS is made of."""

    connection: Connection
    paths: tuple[re.Pattern[str], ...]
    _tls: tuple[Any, Route] | None = field(default=None, repr=False)

    def with_own_headers(self, given: Mapping[str, str]) -> dict[str, str]:
        """Unfilled. Of a task's own those that the connection does not set: it may have changed since the flow did."""
        taken = own_headers(self.connection)
        kept = {name: value for name, value in given.items() if name.lower() not in taken}
        return {**kept, **self.connection.config.get("headers", {})}

    def limit(self, seconds: float) -> float:
        return min(seconds, self.connection.config.get("timeout", seconds))

    def url_of(self, path: str) -> str:
        """Unfilled. Raises ExecutionError: nothing was called, and never will be."""
        if not allowed_path(path, patterns=self.paths):
            message = _("the connection %(name)s does not allow this path")
            raise _forbidden(message % {"name": self.connection.name}, code="FORBIDDEN_PATH")
        return str(self.connection.config["base_url"]).rstrip("/") + path

    def refuse_method(self, method: str) -> None:
        if not allows_method(self.connection, method):
            message = _("the connection %(name)s does not allow the method %(method)s")
            raise _forbidden(message % {"name": self.connection.name, "method": method}, code="FORBIDDEN_METHOD")

    def credentials(self) -> dict[str, str]:
        """The header that says who calls, filled. Raises ExecutionError (NO_SECRET)."""
        auth = self.connection.config.get("auth")
        if auth is None:
            return {}
        secret = SECRETS.value(auth["secret"])
        match auth["type"]:
            case "bearer":
                return {"Authorization": f"Bearer {secret}"}
            case "basic":
                text = b64encode(f"{auth['username']}:{secret}".encode()).decode()
                REDACTOR.learn(text)
                return {"Authorization": f"Basic {text}"}
        return {auth["header"]: auth.get("prefix", "") + secret}

    async def route(self) -> Route:
        """The same one as long as nothing changes: connections that are kept open belong to it."""
        wanted = SECRETS.fill(self.connection.config.get("tls"))
        if self._tls is None or self._tls[0] != wanted:
            context = None if wanted is None else await asyncio.to_thread(_context, wanted)
            self._tls = wanted, Route(self.connection.config.get("private", False), tls=context)
        return self._tls[1]


class Endpoints:
    def __init__(self) -> None:
        self._kept: dict[str, Endpoint] = {}

    def find(self, name: str, *, kind: str) -> Endpoint:
        """Raises ExecutionError where none is registered, it is switched off, or its configuration is wrong."""
        connection = CONNECTIONS.find(name, kind=kind)
        kept = self._kept.get(name)
        if kept is None or kept.connection is not connection:
            kept = self._kept[name] = _read(connection)
        return kept


ENDPOINTS = Endpoints()


def endpoint_problems(config: Mapping[str, Any], *, kind: str) -> list[str]:
    problems = unknown_keys(config, known=KEYS[kind])
    problems += _base_problems(config.get("base_url"))
    problems += _method_problems(config.get("methods", []), kind=kind)
    problems += pattern_problems(config.get("paths", []))
    problems += header_problems(config.get("headers", {}))
    problems += _auth_problems(config.get("auth"), headers=config.get("headers", {}))
    problems += tls_problems(config.get("tls"), base_url=config.get("base_url"))
    if not _is_number(config.get("timeout", 1), most=MOST_TIMEOUT_SECONDS):
        problems.append(_("timeout must be a number of seconds up to %(most)d") % {"most": MOST_TIMEOUT_SECONDS})
    cap = config.get("cap", 1)
    if not _is_number(cap, most=MOST_CAP) or not isinstance(cap, int):
        problems.append(_("cap must be a whole number from 1 to %(most)d") % {"most": MOST_CAP})
    if not isinstance(config.get("private", False), bool):
        problems.append(_("private must be true or false"))
    return problems


def task_problems(config: Mapping[str, Any]) -> list[str]:
    """Of an `http` task that names a connection; the same is judged again at each call."""
    name = config["connection"]
    if "url" in config:
        return [Fault(_("give url, or connection and path, not both"), key="url")]
    connection = CONNECTIONS.get(name, kind="http") if isinstance(name, str) else None
    if connection is None:
        message = _("there is no http connection %(name)s: it must be registered first")
        return [Fault(message % {"name": ascii(name)[:80]}, key="connection")]
    try:
        endpoint = _read(connection)
    except ExecutionError as error:
        return [Fault(str(error), key="connection")]
    path = config.get("path", "")
    problem = path_problem(path)
    if not problem and not allowed_path(path, patterns=endpoint.paths):
        problem = _("the connection %(name)s does not allow this path") % {"name": name}
    if problem:
        return [Fault(problem, key="path")]
    method = config.get("method", "POST")
    if not allows_method(connection, method):
        problem = _("the connection %(name)s does not allow the method %(method)s") % {"name": name, "method": method}
        return [Fault(problem, key="method")]
    return header_clashes(config.get("headers", {}), connection=connection)


def connection_advice(name: object, *, key: str, kind: str) -> list[str]:
    """Of a task that goes through this connection, which it names under `key`; `name` is None where it names none."""
    connection = CONNECTIONS.get(name, kind=kind) if isinstance(name, str) else None
    tls = connection.config.get("tls") if connection is not None else None
    if not isinstance(tls, Mapping) or tls.get("verify", True):
        return []
    message = _("the connection %(name)s does not check who answers (tls.verify is false): anybody in between may")
    hint = _("give the connection the authority of its service as tls.ca")
    return [Fault(message % {"name": name}, key=key, hint=hint)]


def allows_method(connection: Connection, method: object) -> bool:
    """Of http one of a list, of rpc one that matches a pattern; without a list every one."""
    patterns = connection.config.get("methods")
    return not patterns or any(fnmatchcase(str(method), pattern) for pattern in patterns)


def own_headers(connection: Connection) -> set[str]:
    """The names, in lower case, that a task may not set itself."""
    names = {name.lower() for name in connection.config.get("headers", {})}
    auth = connection.config.get("auth")
    return names | {_auth_header(auth)} if auth else names


def _read(connection: Connection) -> Endpoint:
    if problems := endpoint_problems(connection.config, kind=connection.kind):
        message = _("the connection %(name)s cannot be used: %(problems)s")
        text = message % {"name": connection.name, "problems": "; ".join(problems)}
        raise ExecutionError(text, code="BAD_CONNECTION")
    return Endpoint(connection, paths=tuple(path_pattern(each) for each in connection.config.get("paths", [])))


def _base_problems(url: object) -> list[str]:
    problems = form_problems(url, key="base_url")
    if not problems and isinstance(url, str) and ("?" in url or "#" in url):
        problems.append(_("base_url must not have a query or a fragment"))
    return problems


def _method_problems(methods: object, *, kind: str) -> list[str]:
    if not isinstance(methods, list) or not all(isinstance(each, str) and each for each in methods):
        return [_("methods must be a list of strings")]
    if kind == "http" and not METHODS.issuperset(methods):
        return [_("methods may be %(methods)s") % {"methods": ", ".join(sorted(METHODS))}]
    return []


def _auth_problems(auth: object, *, headers: object) -> list[str]:
    if auth is None:
        return []
    kind = auth.get("type") if isinstance(auth, dict) else None
    if not isinstance(auth, dict) or not isinstance(kind, str) or kind not in AUTH_KEYS:
        return [_("auth must be an object whose type is %(types)s") % {"types": ", ".join(AUTH_KEYS)}]
    problems = [f"auth: {problem}" for problem in unknown_keys(auth, known=AUTH_KEYS[kind])]
    if not isinstance(auth.get("secret"), str) or not NAME.fullmatch(auth["secret"]):
        problems.append(_("auth.secret must be the name of a secret"))
    if kind == "basic" and not _is_user(auth.get("username")):
        problems.append(_("auth.username is required, without a colon"))
    if kind == "header" and not _is_header(auth.get("header")):
        problems.append(_("auth.header must be the name of a header that may be set"))
    if not isinstance(auth.get("prefix", ""), str) or not str(auth.get("prefix", "")).isprintable():
        problems.append(_("auth.prefix must be a string"))
    if not problems and isinstance(headers, dict) and _auth_header(auth) in {name.lower() for name in headers}:
        problems.append(_("headers must not hold what auth sets"))
    return problems


def header_clashes(headers: object, *, connection: Connection) -> list[str]:
    names = headers if isinstance(headers, dict) else {}
    taken = own_headers(connection)
    message = _("the header %(name)s is set by the connection")
    return [Fault(message % {"name": name}, key="headers") for name in names if name.lower() in taken]


def _auth_header(auth: Mapping[str, Any]) -> str:
    return str(auth["header"]).lower() if auth["type"] == "header" else "authorization"


def _is_user(name: object) -> bool:
    return isinstance(name, str) and bool(name) and ":" not in name and name.isprintable()


def _is_header(name: object) -> bool:
    return isinstance(name, str) and is_header_allowed(name)


def _is_number(value: object, *, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most


def _forbidden(message: str, *, code: str) -> ExecutionError:
    return ExecutionError(message, code=code, permanent=True)


def _context(tls: Mapping[str, Any]) -> ssl.SSLContext:
    try:
        return tls_context_of(tls)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise failures.unusable_tls(error) from None
