"""`http` tasks: one request, whose status says what became of the work (FLOWS, "Outcome of an attempt")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError
from dist_task.payload import body_of
from dist_task.problems import Fault, faults

from .base import Ongoing, Result, TaskCall
from .callback import is_offered
from .checks import METHODS, METHODS_WITH_BODY, header_problems, unknown_keys, url_problems
from .endpoint import ENDPOINTS, connection_advice, endpoint_problems, task_problems
from .outbound import OUTBOUND
from .outgoing import Outgoing, constant_headers, logged_request, names_secrets, with_query
from .verdict import EXAMPLES as ANSWER_EXAMPLES
from .verdict import KEYS as ANSWER_KEYS
from .verdict import verdict, verdict_problems

KEYS = frozenset({"url", "connection", "path", "method", "headers", "query", "retry_on_4xx"}) | ANSWER_KEYS


class HttpExecutor:
    kind: ClassVar[str] = "http"
    is_trusted: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"connection", "method", "retry_on_4xx"}) | ANSWER_KEYS
    examples: ClassVar[Mapping[str, Any]] = {
        "url": "http://payment/pay",
        "connection": "payment",
        "path": "/pay",
        "method": "POST",
        "headers": {"X-Tenant": "acme"},
        "query": {"page": 1},
        "retry_on_4xx": True,
        **ANSWER_EXAMPLES,
    }

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        problems += task_problems(config) if "connection" in config else _address_problems(config)
        method = config.get("method", "POST")
        if not isinstance(method, str) or method not in METHODS:
            sentence = _("method must be one of %(methods)s") % {"methods": ", ".join(sorted(METHODS))}
            problems.append(Fault(sentence, key="method"))
        problems += faults("headers", header_problems(config.get("headers", {})))
        if not _is_flat(config.get("query", {})):
            problems.append(Fault(_("query must be an object of strings and numbers"), key="query"))
        if not isinstance(config.get("retry_on_4xx", False), bool):
            problems.append(Fault(_("retry_on_4xx must be true or false"), key="retry_on_4xx"))
        return problems + verdict_problems(config)

    def changes_nothing(self, config: Mapping[str, Any]) -> bool:
        return bool(config.get("method") == "GET")

    def advise(self, config: Mapping[str, Any]) -> list[str]:
        return connection_advice(config.get("connection"), key="connection", kind=self.kind)

    def check_connection(self, config: Mapping[str, Any]) -> list[str]:
        return endpoint_problems(config, kind=self.kind)

    def target(self, config: Mapping[str, Any]) -> str:
        return str(config["connection"]) if "connection" in config else urlsplit(str(config["url"])).netloc

    async def execute(self, call: TaskCall) -> Result | Ongoing:
        config = call.config
        configured, query = config.get("headers", {}), config.get("query", {})
        if "connection" in config or call.secret_places or is_offered(config):
            return await _execute_guarded(call)
        if names_secrets(config["url"], headers=configured, query=query):
            return await _execute_guarded(call)
        method = config.get("method", "POST")
        url = with_query(config["url"], query=query)
        body, content_type = _body(call.input, method=method)
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
        return judged(verdict(answer, config=config, request=request))

    @staticmethod
    def reachable(output: Any) -> Any:
        """The members of a body can be named without saying `body`, those of an envelope's data without `data`."""
        if not isinstance(output, dict):
            return output
        inner = [each for each in (output.get("data"), output.get("body")) if isinstance(each, dict)]
        return {name: value for each in (*inner, output) for name, value in each.items()} if inner else output

    async def close(self) -> None:
        await OUTBOUND.close()


async def _execute_guarded(call: TaskCall) -> Result | Ongoing:
    """Through a registered connection, with secrets, or with the offer of a callback."""
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
    return judged(verdict(answer, config=config, request=request))


def judged(found: Result | Ongoing | ExecutionError) -> Result | Ongoing:
    if isinstance(found, ExecutionError):
        raise found
    return found


def _address_problems(config: Mapping[str, Any]) -> list[str]:
    problems = faults("url", url_problems(config.get("url")))
    if "path" in config:
        problems.append(Fault(_("path is for a task that names a connection"), key="path"))
    return problems


def _body(value: Mapping[str, Any], *, method: str) -> tuple[bytes | None, str]:
    """The parameters as JSON; a lone string parameter `body` is sent as it is (the older form)."""
    if method not in METHODS_WITH_BODY:
        return None, ""
    if set(value) == {"body"} and isinstance(value["body"], str):
        return value["body"].encode(), "application/json"
    return body_of(value), "application/json"


def _is_flat(query: object) -> bool:
    return isinstance(query, dict) and all(isinstance(value, str | int | float) for value in query.values())
