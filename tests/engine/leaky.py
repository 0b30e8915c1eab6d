"""An executor as somebody else's package might bring it: it knows a secret, and is careless with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.secrets import fill


class LeakyExecutor:
    kind: ClassVar[str] = "leaky"

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        return []

    def target(self, config: Mapping[str, Any]) -> str:
        return ""

    async def execute(self, call: TaskCall) -> Result:
        filled = fill(call.config)
        secret = filled["password"]
        match filled["do"]:
            case "crash":
                raise RuntimeError(f"cannot log in as {secret}")
            case "fail":
                details = {"dsn": f"amqp://shop:{secret}@mq"}
                raise ExecutionError(f"refused {secret}", code=secret[:100], request=details, response=details)
        logging.getLogger("leaky").warning("connecting with %r", filled)
        return Result(output={secret: [filled, secret.encode()]}, request=filled, response={"said": secret})

    async def close(self) -> None:
        return None
