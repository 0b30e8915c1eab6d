"""Requests: their headers and what the log shows of them; and those that need secrets or a registered connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.payload import for_log, mask
from dist_task.redaction import MASKED

from . import callback
from .base import TaskCall
from .connection import Answer
from .endpoint import Endpoint
from .outbound import OUTBOUND, Headers
from .secrets import OPENING, SECRETS


@lru_cache(maxsize=1_000)
def constant_headers(configured: Headers, *, content_type: str) -> Headers:
    """The configured headers, and ours that do not depend on the attempt: of the encoding ours counts."""
    names = {name.lower() for name, _value in configured}
    headers = [(name, value) for name, value in configured if name.lower() != "accept-encoding"]
    headers.append(("Accept-Encoding", "identity"))
    if content_type and "content-type" not in names:
        headers.append(("Content-Type", content_type))
    return tuple(headers)


def logged_request(
    method: str,
    url: str,
    *,
    configured: Mapping[str, str],
    sent: dict[str, str],
    value: object,
    body: bytes | None,
) -> dict[str, Any]:
    """For the log: masked first, then cut. Of the headers only the configured ones can hold a secret."""
    return {
        "method": method,
        "url": mask(url),
        "headers": _masked(sent, configured=configured) if configured else sent,
        "body": None if body is None else for_log(value, text=body, limit=conf.MAX_LOG_BYTES),
    }


def with_query(url: str, *, query: Mapping[str, Any], safe: str = "") -> str:
    if not query:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query, safe=safe)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as its author wrote it: that is what the log shows. Only `body` is filled already.

    What holds a secret goes past everything that is remembered between calls.
    """

    method: str
    url: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str]
    content_type: str
    value: Any
    body: bytes | None
    endpoint: Endpoint | None

    async def send(self, call: TaskCall) -> tuple[Answer, dict[str, Any]]:
        """The answer, and the request for the log. Raises ExecutionError."""
        given = self.endpoint.with_own_headers(self.headers) if self.endpoint else self.headers
        hidden = {name: value for name, value in given.items() if OPENING in value}
        constant = constant_headers(_items(given, without=hidden), content_type=self._content_type(hidden))
        credentials = self.endpoint.credentials() if self.endpoint else {}
        offered = callback.headers_of(call)
        varying = {**SECRETS.fill(hidden), **credentials, **call.headers, **offered}
        url, shown = self._urls()
        sent = {**dict(constant), **hidden, **dict.fromkeys((*credentials, *offered), MASKED), **call.headers}
        request = logged_request(self.method, shown, configured=given, sent=sent, value=self.value, body=self.body)
        try:
            answer = await OUTBOUND.send(
                self.method,
                url,
                constant=constant,
                varying=varying,
                body=self.body,
                timeout_seconds=self.endpoint.limit(call.timeout_seconds) if self.endpoint else call.timeout_seconds,
                route=await self.endpoint.route() if self.endpoint else None,
                is_secret=OPENING in shown,
            )
        except ExecutionError as error:
            error.request = request
            raise
        return callback.without_token(answer, offered=offered), request

    def _content_type(self, hidden: Mapping[str, str]) -> str:
        return "" if "content-type" in {name.lower() for name in hidden} else self.content_type

    def _urls(self) -> tuple[str, str]:
        """The one that is called, and the one that is shown."""
        filled = SECRETS.fill_text(self.url, quoted=_quoted)
        return (
            with_query(filled, query=SECRETS.fill(self.query)),
            with_query(self.url, query=self.query, safe="${}"),
        )


def names_secrets(url: str, *, headers: Mapping[str, str], query: Mapping[str, Any]) -> bool:
    """Quick for most: they have neither headers nor a query."""
    if OPENING in url:
        return True
    if headers and any(OPENING in value for value in headers.values()):
        return True
    return bool(query) and any(isinstance(value, str) and OPENING in value for value in query.values())


def _quoted(value: str) -> str:
    return quote(value, safe="")


def _items(headers: Mapping[str, str], *, without: Mapping[str, str]) -> Headers:
    return tuple(item for item in headers.items() if item[0] not in without)


def _masked(sent: Mapping[str, str], *, configured: Mapping[str, str]) -> dict[str, str]:
    masked = mask(configured)
    return {name: masked.get(name, value) for name, value in sent.items()}
