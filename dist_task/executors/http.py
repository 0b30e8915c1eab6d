"""`http` tasks: one request, whose status says what became of the work (FLOWS, "Outcome of an attempt")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.payload import body_of, for_log, loads_untrusted, mask

from .address import CONTROL, host_problem, target_of
from .base import Result, TaskCall
from .connection import Answer
from .outbound import OUTBOUND, Headers

METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
METHODS = METHODS_WITH_BODY | {"GET", "DELETE"}
KEYS = frozenset({"url", "method", "headers", "query", "retry_on_4xx"})
KEPT_HEADERS = tuple((name, name.lower().encode()) for name in ("Content-Type", "Location", "ETag", "X-Request-Id"))
UNKNOWN_STATUSES = frozenset({502, 504})
RETRYABLE_STATUSES = frozenset({408, 425, 429})
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
LONGEST_RETRY_AFTER_SECONDS = 86_400.0


class HttpExecutor:
    kind: ClassVar[str] = "http"
    is_trusted: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"method", "retry_on_4xx"})

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        problems += url_problems(config.get("url"))
        if config.get("method", "POST") not in METHODS:
            problems.append(_("method must be one of %(methods)s") % {"methods": ", ".join(sorted(METHODS))})
        problems += header_problems(config.get("headers", {}))
        if not _is_flat(config.get("query", {})):
            problems.append(_("query must be an object of strings and numbers"))
        if not isinstance(config.get("retry_on_4xx", False), bool):
            problems.append(_("retry_on_4xx must be true or false"))
        return problems

    def target(self, config: Mapping[str, Any]) -> str:
        return urlsplit(str(config["url"])).netloc

    async def execute(self, call: TaskCall) -> Result:
        method = call.config.get("method", "POST")
        url = _with_query(call.config["url"], query=call.config.get("query", {}))
        body, content_type = _body(call, method=method)
        configured = call.config.get("headers", {})
        constant = constant_headers(tuple(configured.items()), content_type=content_type)
        varying = call.headers
        sent = {**dict(constant), **varying}
        request = logged_request(method, url, configured=configured, sent=sent, value=call.input, body=body)
        try:
            answer = await OUTBOUND.send(
                method, url, constant=constant, varying=varying, body=body, timeout_seconds=call.timeout_seconds
            )
        except ExecutionError as error:
            error.request = request
            raise
        return result_of(answer, request=request, retry_on_4xx=call.config.get("retry_on_4xx", False))

    @staticmethod
    def reachable(output: Any) -> Any:
        """The members of a body can be named without saying `body`."""
        body = output.get("body") if isinstance(output, dict) else None
        return {**body, **output} if isinstance(body, dict) else output

    async def close(self) -> None:
        await OUTBOUND.close()


@lru_cache(maxsize=1_000)
def constant_headers(configured: Headers, *, content_type: str) -> Headers:
    """The configured headers, and ours that do not depend on the attempt: of the encoding ours counts."""
    names = {name.lower() for name, _value in configured}
    headers = [(name, value) for name, value in configured if name.lower() != "accept-encoding"]
    headers.append(("Accept-Encoding", "identity"))
    if content_type and "content-type" not in names:
        headers.append(("Content-Type", content_type))
    return tuple(headers)


def unknown_keys(config: Mapping[str, Any], *, known: Iterable[str]) -> list[str]:
    return [
        _("unknown key %(key)s; known are %(known)s") % {"key": key, "known": ", ".join(sorted(known))}
        for key in config
        if key not in known
    ]


def url_problems(url: object) -> list[str]:
    if not isinstance(url, str) or not url:
        return [_("url is required and must be a string")]
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return [_("url is not a valid URL")]
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [_("url must be absolute, like http://payment/deduct")]
    if CONTROL.search(url) or parts.username is not None:
        return [_("url must not hold blanks, control characters or a user name")]
    try:
        target_of(url)
    except ValueError:
        return [_("url is not a valid URL")]
    problem = host_problem(url)
    return [problem] if problem else []


def header_problems(headers: object) -> list[str]:
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        return [_("headers must be an object of strings")]
    problems = []
    for name, value in headers.items():
        if not TOKEN.fullmatch(name) or name.lower() in FORBIDDEN_HEADERS or name.lower().startswith("x-dist-task"):
            problems.append(_("the header %(name)s may not be set") % {"name": ascii(name)[:80]})
        elif re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            problems.append(_("the value of the header %(name)s has control characters") % {"name": name})
    return problems


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


def _masked(sent: Mapping[str, str], *, configured: Mapping[str, str]) -> dict[str, str]:
    masked = mask(configured)
    return {name: masked.get(name, value) for name, value in sent.items()}


def result_of(answer: Answer, *, request: dict[str, Any], retry_on_4xx: bool) -> Result:
    """A 2xx is the result; everything else raises ExecutionError with what the status says about the work."""
    body = parsed_body(answer)
    headers = {name: answer.header(key) for name, key in KEPT_HEADERS if key in answer.headers}
    output = {"status": answer.status, "headers": headers, "body": body}
    response = {**output, "body": for_log(body, text=answer.body, limit=conf.MAX_LOG_BYTES)}
    if 200 <= answer.status < 300:
        return Result(output=output, request=request, response=response)
    raise ExecutionError(
        _("the service answered %(status)d%(reason)s") % {"status": answer.status, "reason": _reason(body)},
        code=_code(body) or f"HTTP_{answer.status}",
        permanent=not _is_retryable(answer.status, retry_on_4xx=retry_on_4xx),
        unknown=answer.status in UNKNOWN_STATUSES,
        retry_after_seconds=_retry_after(answer.header(b"retry-after") or ""),
        request=request,
        response=response,
    )


def parsed_body(answer: Answer) -> Any:
    """JSON where it is JSON, else the text."""
    if not answer.body:
        return None
    kind = answer.header(b"content-type")
    if kind is None or "json" in kind:
        try:
            return loads_untrusted(answer.body)
        except ValueError:
            pass
    return answer.body.decode("utf-8", errors="replace")


def _body(call: TaskCall, *, method: str) -> tuple[bytes | None, str]:
    """The parameters as JSON; a lone string parameter `body` is sent as it is (the older form)."""
    if method not in METHODS_WITH_BODY:
        return None, ""
    if set(call.input) == {"body"} and isinstance(call.input["body"], str):
        return call.input["body"].encode(), "application/json"
    return body_of(call.input), "application/json"


def _with_query(url: str, *, query: Mapping[str, Any]) -> str:
    if not query:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def _is_flat(query: object) -> bool:
    return isinstance(query, dict) and all(isinstance(value, str | int | float) for value in query.values())


def _is_retryable(status: int, *, retry_on_4xx: bool) -> bool:
    return status >= 500 or status in RETRYABLE_STATUSES or (retry_on_4xx and 400 <= status < 500)


def _code(body: Any) -> str:
    """The business code of an error answer: `code`, or `error.code`, where it is a short string or a number."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else body.get("code", error)
    if isinstance(code, bool) or not isinstance(code, str | int):
        return ""
    return str(code)[:100]


def _reason(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message") if isinstance(error, dict) else error
    return f": {message[:500]}" if isinstance(message, str) and message else ""


def _retry_after(value: str) -> float:
    """Seconds to wait at least; the header holds seconds or an HTTP date."""
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_RETRY_AFTER_SECONDS)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
