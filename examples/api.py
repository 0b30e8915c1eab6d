"""Requests that `dist_task.client` has no verb for: registering flows, deciding approvals, figures."""

from __future__ import annotations

import json
import urllib.request
from typing import Any


def call(url: str, *, body: Any = None) -> Any:
    """The `data` of the envelope: of a POST where there is a body, else of a GET. Raises urllib's HTTPError."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=content, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


def register(server: str, *, name: str, definition: dict[str, Any]) -> str:
    """The id of the flow. The same definition again is the same flow, so deploy scripts can repeat it."""
    body = {"name": name, "flow_type": "example", "definition": definition, "create_user": "example"}
    return str(call(f"{server}/api/v1/flows", body=body)["id"])


def decide(server: str, *, instance_id: str, task_id: str, verb: str, remark: str) -> None:
    """`verb`: approve or reject."""
    body = {"task_id": task_id, "remark": remark}
    call(f"{server}/api/v1/transactions/{instance_id}/{verb}", body=body)
