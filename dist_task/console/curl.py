"""Requests as commands for a shell. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from shlex import quote
from typing import Any

from dist_task.console.text import fitted

MOST_BYTES = 2_000
LINE = " \\\n  "


def start_command(base: str, *, flow_id: str, params: Any) -> str:
    """Starts a transaction like this one; the id is left to the reader, since the same one would be this one."""
    body = json.dumps({"instance_id": "NEW-ID", "flow_id": flow_id, "params": params}, ensure_ascii=False)
    return _command(f"{base}/api/v1/transactions", method="POST", headers=_headers(), body=body)


def read_command(base: str, *, instance_id: str) -> str:
    parts = [f"curl {quote(f'{base}/api/v1/transactions/{instance_id}')}", '-H "Authorization: Bearer $TOKEN"']
    return LINE.join(parts)


def request_command(request: Any) -> str:
    """What an attempt sent, as the log has it: secrets masked, a long body cut. "" where it was no HTTP request."""
    if not isinstance(request, Mapping) or not isinstance(request.get("url"), str):
        return ""
    headers = request.get("headers")
    lines = (
        [f"-H {quote(f'{name}: {value}')}" for name, value in headers.items()] if isinstance(headers, Mapping) else []
    )
    body = request.get("body")
    text = body if body is None or isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    return _command(request["url"], method=str(request.get("method", "GET")), headers=lines, body=text)


def _headers() -> list[str]:
    return ['-H "Authorization: Bearer $TOKEN"', "-H 'Content-Type: application/json'"]


def _command(url: str, *, method: str, headers: list[str], body: str | None) -> str:
    parts = [f"curl -X {quote(method)} {quote(url)}", *headers]
    if body is not None:
        parts.append(f"--data-raw {quote(body)}")
    return fitted(LINE.join(parts), most_bytes=MOST_BYTES)
