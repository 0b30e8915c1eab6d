"""`rpc` tasks: `POST http://{service}/rpc` with a method and its parameters; an `error` member is a failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.payload import body_of, capped, mask

from .base import Result, TaskCall
from .http import constant_headers, header_problems, logged_request, result_of, unknown_keys, url_problems
from .outbound import OUTBOUND

KEYS = frozenset({"service", "method", "headers"})
PERMANENT_CODES = frozenset({-32700, -32600, -32601, -32602})
"""JSON-RPC's codes for a request that is wrong in itself."""


class RpcExecutor:
    kind: ClassVar[str] = "rpc"
    is_trusted: ClassVar[bool] = True
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"service", "method"})

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        service = config.get("service")
        if not isinstance(service, str) or not service or "/" in service:
            problems.append(_("service is required and must be host or host:port"))
        else:
            problems += url_problems(f"http://{service}/rpc")
        if not isinstance(config.get("method"), str) or not config["method"]:
            problems.append(_("method is required and must be a string"))
        return problems + header_problems(config.get("headers", {}))

    def target(self, config: Mapping[str, Any]) -> str:
        return str(config["service"])

    async def execute(self, call: TaskCall) -> Result:
        url = f"http://{call.config['service']}/rpc"
        payload = {"method": call.config["method"], "params": dict(call.input)}
        configured = call.config.get("headers", {})
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
        found = result_of(answer, request=request, retry_on_4xx=False)
        return _result(found.output["body"], found=found)

    async def close(self) -> None:
        await OUTBOUND.close()


def _result(body: Any, *, found: Result) -> Result:
    """The `result` member, or the whole answer where it has none."""
    if not isinstance(body, dict):
        return Result(output=body, request=found.request, response=found.response)
    if (error := body.get("error")) is not None:
        raise _failure(error, found=found)
    return Result(output=body.get("result", body), request=found.request, response=found.response)


def _failure(error: Any, *, found: Result) -> ExecutionError:
    detail = error if isinstance(error, dict) else {"message": str(error)}
    shown = capped(mask(detail.get("message", "")), limit=conf.MAX_LOG_BYTES)
    return ExecutionError(
        _("RPC call failed: %(message)s") % {"message": shown},
        code=str(detail.get("code", "RPC_ERROR"))[:100],
        permanent=detail.get("code") in PERMANENT_CODES,
        request=found.request,
        response=found.response,
    )
