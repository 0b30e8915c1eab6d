"""Well-formed starts, told from all others quickly. The others go to the serializers, which say what is wrong."""

from __future__ import annotations

import re
from typing import Any

from dist_task.engine.start import StartRequest, check_instance_id
from dist_task.errors import InvalidRequest

_FIELDS = frozenset({"instance_id", "flow_id", "params"})
_FLOW_ID = re.compile(r"[!-~]{1,100}")


def plain_start(item: Any) -> StartRequest | None:
    """None: not plainly well-formed; the serializer `NewTransaction` may still accept it."""
    if not isinstance(item, dict) or not item.keys() <= _FIELDS:
        return None
    flow_id, params = item.get("flow_id"), item.get("params", {})
    if not isinstance(flow_id, str) or not _FLOW_ID.fullmatch(flow_id) or not isinstance(params, dict):
        return None
    instance_id = plain_id(item.get("instance_id"))
    return StartRequest(instance_id, flow_id, params) if instance_id else None


def plain_id(value: Any) -> str | None:
    try:
        return check_instance_id(value)
    except InvalidRequest:
        return None
