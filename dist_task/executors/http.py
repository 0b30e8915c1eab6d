"""`http` tasks: one request, whose status says what became of the work (FLOWS, "Outcome of an attempt")."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.payload import body_of, for_log, loads_untrusted, redact
from dist_task.redaction import REDACTOR

from .base import Result, TaskCall
from .checks import METHODS, METHODS_WITH_BODY, header_problems, unknown_keys, url_problems
from .connection import Answer
from .endpoint import ENDPOINTS, endpoint_problems, task_problems
from .outbound import OUTBOUND
from .outgoing import Outgoing, constant_headers, logged_request, names_secrets, with_query

KEYS = frozenset({"url", "connection", "path", "method", "headers", "query", "retry_on_4xx"})
KEPT_HEADERS = tuple((name, name.lower().encode()) for name in ("Content-Type", "Location", "ETag", "X-Request-Id"))
UNKNOWN_STATUSES = frozenset({502, 504})
RETRYABLE_STATUSES = frozenset({408, 425, 429})
LONGEST_RETRY_AFTER_SECONDS = 86_400.0


class HttpExecutor:
    kind: ClassVar[str] = "http"
    is_trusted: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"connection", "method", "retry_on_4xx"})

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        problems += task_problems(config) if "connection" in config else _address_problems(config)
        if config.get("method", "POST") not in METHODS:
            problems.append(_("method must be one of %(methods)s") % {"methods": ", ".join(sorted(METHODS))})
        problems += header_problems(config.get("headers", {}))
        if not _is_flat(config.get("query", {})):
            problems.append(_("query must be an object of strings and numbers"))
        if not isinstance(config.get("retry_on_4xx", False), bool):
            problems.append(_("retry_on_4xx must be true or false"))
        return problems

    def check_connection(self, config: Mapping[str, Any]) -> list[str]:
        return endpoint_problems(config, kind=self.kind)

    def target(self, config: Mapping[str, Any]) -> str:
        return str(config["connection"]) if "connection" in config else urlsplit(str(config["url"])).netloc

    async def execute(self, call: TaskCall) -> Result:
        if "connection" in call.config or call.secret_places or _names_secrets(call.config):
            return await _execute_guarded(call)
        method = call.config.get("method", "POST")
        url = with_query(call.config["url"], query=call.config.get("query", {}))
        body, content_type = _body(call.input, method=method)
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


async def _execute_guarded(call: TaskCall) -> Result:
    """Through a registered connection, or with secrets."""
    config = call.config
    method = config.get("method", "POST")
    endpoint = ENDPOINTS.find(config["connection"], kind=HttpExecutor.kind) if "connection" in config else None
    if endpoint is not None:
        endpoint.refuse_method(method)
    body, content_type = _body(call.filled_input, method=method)
    outgoing = Outgoing(
        method=method,
        url=config["url"] if endpoint is None else endpoint.url_of(config.get("path", "")),
        query=config.get("query", {}),
        headers=config.get("headers", {}),
        content_type=content_type,
        value=call.input,
        body=body,
        endpoint=endpoint,
    )
    answer, request = await outgoing.send(call)
    return result_of(answer, request=request, retry_on_4xx=config.get("retry_on_4xx", False))


def _names_secrets(config: Mapping[str, Any]) -> bool:
    return names_secrets(config["url"], headers=config.get("headers", {}), query=config.get("query", {}))


def _address_problems(config: Mapping[str, Any]) -> list[str]:
    problems = url_problems(config.get("url"))
    if "path" in config:
        problems.append(_("path is for a task that names a connection"))
    return problems


def result_of(answer: Answer, *, request: dict[str, Any], retry_on_4xx: bool) -> Result:
    """A 2xx is the result; everything else raises ExecutionError with what the status says about the work."""
    body = parsed_body(answer)
    headers = {name: answer.header(key) for name, key in KEPT_HEADERS if key in answer.headers}
    if REDACTOR.is_needed:  # before anything is cut
        body, headers = redact(body), redact(headers)
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


def _body(value: Mapping[str, Any], *, method: str) -> tuple[bytes | None, str]:
    """The parameters as JSON; a lone string parameter `body` is sent as it is (the older form)."""
    if method not in METHODS_WITH_BODY:
        return None, ""
    if set(value) == {"body"} and isinstance(value["body"], str):
        return value["body"].encode(), "application/json"
    return body_of(value), "application/json"


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
