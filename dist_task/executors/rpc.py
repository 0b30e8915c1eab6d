"""`rpc` tasks: `POST http://{service}/rpc` with a method and its parameters; an `error` member is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.payload import body_of, capped, mask
from dist_task.problems import Fault, faults

from .base import Ongoing, Result, TaskCall
from .callback import is_offered
from .checks import header_problems, unknown_keys, url_problems
from .connection import Answer
from .connections import CONNECTIONS, Connection
from .endpoint import ENDPOINTS, allows_method, connection_advice, endpoint_problems, header_clashes
from .http import judged
from .outbound import OUTBOUND
from .outgoing import Outgoing, constant_headers, logged_request, names_secrets
from .secrets import OPENING
from .verdict import EXAMPLES as ANSWER_EXAMPLES
from .verdict import KEYS as ANSWER_KEYS
from .verdict import business_code, document_of, unjudged, verdict, verdict_problems

KEYS = frozenset({"service", "method", "headers"}) | ANSWER_KEYS
PROTOCOLS = frozenset({"dtm"})  # an envelope would be another protocol than that of results and errors
PERMANENT_CODES = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC's codes for a request that is wrong in itself."""


class RpcExecutor:
    kind: ClassVar[str] = "rpc"
    is_trusted: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"service", "method"}) | ANSWER_KEYS
    examples: ClassVar[Mapping[str, Any]] = {
        "service": "payment:9001",
        "method": "payment.deduct",
        "headers": {"X-Tenant": "acme"},
        **ANSWER_EXAMPLES,
        "result_protocol": "dtm",
    }

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        service = config.get("service")
        connection = _registered(service)
        if connection is not None:
            problems += _connection_problems(config, connection=connection)
        elif not isinstance(service, str) or not service or "/" in service:
            sentence = _("service is required and must be host, host:port or a connection")
            problems.append(Fault(sentence, key="service"))
        else:
            problems += faults("service", url_problems(f"http://{service}/rpc"))
        if not isinstance(config.get("method"), str) or not config["method"] or OPENING in config["method"]:
            problems.append(Fault(_("method is required and must be a string"), key="method"))
        problems += faults("headers", header_problems(config.get("headers", {})))
        return problems + verdict_problems(config, protocols=PROTOCOLS)

    def advise(self, config: Mapping[str, Any]) -> list[str]:
        name = config["service"] if _registered(config.get("service")) is not None else None
        return connection_advice(name, key="service", kind=self.kind)

    def check_connection(self, config: Mapping[str, Any]) -> list[str]:
        return endpoint_problems(config, kind=self.kind)

    def target(self, config: Mapping[str, Any]) -> str:
        return str(config["service"])

    async def execute(self, call: TaskCall) -> Result | Ongoing:
        service, configured = call.config["service"], call.config.get("headers", {})
        url = f"http://{service}/rpc"
        hides = call.secret_places or names_secrets("", headers=configured, query={}) or is_offered(call.config)
        if hides or _registered(service) is not None:
            return await _execute_guarded(call, url=url)
        payload = _payload(call, params=call.input)
        constant = constant_headers(tuple(configured.items()), content_type="application/json")
        varying = call.headers
        body = body_of(payload)
        sent = {**dict(constant), **varying}
        request = logged_request("POST", url, configured=configured, sent=sent, value=payload, body=body)
        try:
            answer = await OUTBOUND.send(
                "POST", url, constant=constant, varying=varying, body=body, timeout_seconds=call.timeout_seconds
            )
        except ExecutionError as error:
            error.request = request
            raise
        return _result(answer, config=call.config, request=request)

    async def close(self) -> None:
        await OUTBOUND.close()


async def _execute_guarded(call: TaskCall, *, url: str) -> Result | Ongoing:
    """Through a registered connection, with secrets, or with the offer of a callback."""
    service = call.config["service"]
    endpoint = ENDPOINTS.find(service, kind=RpcExecutor.kind) if _registered(service) is not None else None
    if endpoint is not None:
        endpoint.refuse_method(call.config["method"])
    outgoing = Outgoing(
        method="POST",
        url=url if endpoint is None else endpoint.url_of("/rpc"),
        headers=call.config.get("headers", {}),
        content_type="application/json",
        value=_payload(call, params=call.input),
        body=body_of(_payload(call, params=call.filled_input)),
        endpoint=endpoint,
    )
    answer, request = await outgoing.send(call)
    return _result(answer, config=call.config, request=request)


def _payload(call: TaskCall, *, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": call.config["method"], "params": dict(params)}


def _registered(service: object) -> Connection | None:
    """The connection of this name. What has a dot or a colon is a host, and most services are one."""
    if not isinstance(service, str) or "." in service or ":" in service:
        return None
    return CONNECTIONS.get(service, kind=RpcExecutor.kind)


def _connection_problems(config: Mapping[str, Any], *, connection: Connection) -> list[str]:
    if not allows_method(connection, config.get("method")):
        message = _("the connection %(name)s does not allow the method %(method)s")
        sentence = message % {"name": connection.name, "method": ascii(config.get("method"))[:80]}
        return [Fault(sentence, key="method")]
    return header_clashes(config.get("headers", {}), connection=connection)


def _result(answer: Answer, *, config: Mapping[str, Any], request: dict[str, Any]) -> Result | Ongoing:
    """The `result` member, or the whole answer where it has none. With `ok_when` an `error` member says nothing."""
    found = judged(verdict(answer, config=config, request=request))
    if isinstance(found, Ongoing):
        return found
    if answer.is_cut:  # it may hold an error
        raise unjudged(request=request, response=found.response)
    body = found.output["body"]
    if isinstance(body, dict):
        if (error := body.get("error")) is not None and "ok_when" not in config:
            document = document_of(answer, body=body)
            raise _failure(error, found=found, code=business_code(config.get("error_code"), document=document))
        body = body.get("result", body)
    return Result(output=body, request=found.request, response=found.response, note=found.note)


def _failure(error: Any, *, found: Result, code: str) -> ExecutionError:
    detail = error if isinstance(error, dict) else {"message": str(error)}
    shown = capped(mask(detail.get("message", "")), limit=conf.MAX_LOG_BYTES)
    return ExecutionError(
        _("RPC call failed: %(message)s") % {"message": shown},
        code=code or str(detail.get("code", "RPC_ERROR"))[:100],
        permanent=detail.get("code") in PERMANENT_CODES,
        request=found.request,
        response=found.response,
    )
