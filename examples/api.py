"""Requests that `dist_task.client` has no verb for: registering flows, deciding approvals, reading logs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from dist_task.client import ApiError


def get(url: str) -> Any:
    return answer(urllib.request.Request(url))


def post(url: str, *, body: Any, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    return answer(urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers))


def answer(request: urllib.request.Request) -> Any:
    """The `data` of the envelope. Raises ApiError with its message, as the client does."""
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        envelope = json.load(error)
        raise ApiError(envelope["message"], code=envelope["code"], data=envelope["data"] or {}) from error


def register(server: str, *, name: str, definition: dict[str, Any]) -> str:
    """The id of the flow. The same definition again is the same flow, so deploy scripts can repeat it."""
    body = {"name": name, "flow_type": "example", "definition": definition, "create_user": "example"}
    return str(post(f"{server}/api/v1/flows", body=body)["id"])


def decide(server: str, *, instance_id: str, task_id: str, verb: str, remark: str, token: str = "") -> None:
    """`verb`: approve or reject. `token` says who decides."""
    body = {"task_id": task_id, "remark": remark}
    post(f"{server}/api/v1/transactions/{instance_id}/{verb}", body=body, token=token)


def transaction(server: str, instance_id: str) -> Any:
    """As the wire has it, with `items`, `child` and `parent`, which the client passes over."""
    return get(f"{server}/api/v1/transactions/{instance_id}")


def logs(server: str, instance_id: str) -> Iterator[Any]:
    """All entries, the oldest first."""
    page, entries = 1, True
    while entries:
        entries = get(f"{server}/api/v1/transactions/{instance_id}/logs?page={page}&page_size=200")["list"]
        yield from entries
        page += 1
