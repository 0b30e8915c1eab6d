"""Task type `sms`: one short message through a gateway that speaks JSON lines over TCP (see sms_gateway.py)."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.checks import unknown_keys
from dist_task.executors.connections import CONNECTIONS
from dist_task.payload import capped, mask
from dist_task.problems import Fault

MOST_LOGGED = 2_000
MOST_ANSWER_BYTES = 65_536


class SmsExecutor:
    kind: ClassVar[str] = "sms"
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"connection"})  # no data of a transaction chooses the gateway
    examples: ClassVar[Mapping[str, Any]] = {"connection": "sms", "sender": "Shop"}

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=self.examples)
        name = config.get("connection")
        if not isinstance(name, str) or CONNECTIONS.get(name, kind=self.kind) is None:
            problems.append(
                Fault(f"connection must be the name of a registered {self.kind} connection", key="connection")
            )
        sender = config.get("sender", "")
        if not isinstance(sender, str) or len(sender) > 11:
            problems.append(Fault("sender must be a string of at most 11 characters", key="sender"))
        return problems

    def check_connection(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=("host", "port", "password", "cap"))
        if not isinstance(config.get("host"), str) or not isinstance(config.get("port"), int):
            problems.append("host (a string) and port (a number) are required")
        return problems

    def target(self, config: Mapping[str, Any]) -> str:
        return str(config["connection"])

    async def execute(self, call: TaskCall) -> Result:
        message = message_of(call, kind=self.kind)
        is_sent = False
        try:
            async with asyncio.timeout(call.timeout_seconds):
                reader, writer = await asyncio.open_connection(*message.address, limit=MOST_ANSWER_BYTES)
                try:
                    is_sent = True
                    writer.write(message.line)
                    answer = await reader.readline()
                finally:
                    writer.close()
        except (OSError, ValueError) as error:  # a TimeoutError is an OSError; a line beyond the limit a ValueError
            raise broken(error, message=message, is_sent=is_sent) from error
        return judged(answer, message=message)

    async def close(self) -> None:
        """Nothing is kept open."""


class BlockingSmsExecutor(SmsExecutor):
    kind: ClassVar[str] = "sms_blocking"

    def execute(self, call: TaskCall) -> Result:  # type: ignore[override]  # a plain function runs in a thread
        message = message_of(call, kind=self.kind)
        ends_at = time.monotonic() + call.timeout_seconds
        is_sent = False
        try:
            with socket.create_connection(message.address, timeout=call.timeout_seconds) as line:
                is_sent = True
                line.sendall(message.line)
                answer = read_line(line, ends_at=ends_at)
        except OSError as error:
            raise broken(error, message=message, is_sent=is_sent) from error
        return judged(answer, message=message)


def read_line(line: socket.socket, *, ends_at: float) -> bytes:
    """A thread cannot be stopped from outside: each wait is as long as there is time left for the whole attempt."""
    answer = b""
    while not answer.endswith(b"\n") and len(answer) <= MOST_ANSWER_BYTES:
        line.settimeout(max(ends_at - time.monotonic(), 0.001))
        if not (piece := line.recv(4_096)):
            break
        answer += piece
    return answer


@dataclass(frozen=True, slots=True)
class Message:
    """`line` is what is sent and holds secrets; `shown` is what the log is shown instead."""

    address: tuple[str, int]
    line: bytes
    shown: dict[str, Any]


def message_of(call: TaskCall, *, kind: str) -> Message:
    """Raises ExecutionError where the connection is switched off, or a secret is not set: nothing was sent."""
    gateway = CONNECTIONS.find(call.config["connection"], kind=kind).settings()  # its secrets are filled in here
    wanted = {"key": call.idempotency_key, "sender": call.config.get("sender", "")}
    sent = {**wanted, "password": gateway.get("password", ""), **texts(call.filled_input)}
    return Message(
        address=(gateway["host"], gateway["port"]),
        line=json.dumps(sent).encode() + b"\n",
        shown=capped(mask({**wanted, **texts(call.input)}), limit=MOST_LOGGED),  # masked first, then cut
    )


def texts(given: Mapping[str, Any]) -> dict[str, Any]:
    """What only the transaction knows is checked when it runs; trying again would not help."""
    if not isinstance(given.get("to"), str) or not isinstance(given.get("text"), str):
        raise ExecutionError("to and text are required, and strings", code="INVALID_INPUT", permanent=True)
    return {"to": given["to"], "text": given["text"]}


def judged(line: bytes, *, message: Message) -> Result:
    """What the gateway's answer says about the work."""
    try:
        answer = json.loads(line)
        status = answer["status"]
    except (ValueError, TypeError, KeyError):
        raise failure(
            "the answer of the gateway was lost", code="CONNECTION_LOST", message=message, unknown=True
        ) from None
    response = capped(mask(answer), limit=MOST_LOGGED)
    if status == "sent":
        return Result(output={"id": answer.get("id")}, request=message.shown, response=response)
    if status == "busy":  # not sent: tried again by the task's policy, after this pause at least
        raise failure("the gateway is busy", code="BUSY", message=message, response=response, retry_after_seconds=0.1)
    if status == "refused":  # not sent, and never will be
        raise failure(str(answer.get("reason")), code="REFUSED", message=message, response=response, permanent=True)
    raise failure("the gateway answered what nobody knows", code="BAD_RESPONSE", message=message, unknown=True)


def broken(error: Exception, *, message: Message, is_sent: bool) -> ExecutionError:
    """Before the message was sent it is certain that nothing was done; afterwards nobody knows."""
    code = "TIMEOUT" if isinstance(error, TimeoutError) else "CONNECTION_LOST" if is_sent else "CONNECTION_REFUSED"
    return failure(f"the gateway: {error or type(error).__name__}", code=code, message=message, unknown=is_sent)


def failure(text: str, *, code: str, message: Message, **more: Any) -> ExecutionError:
    return ExecutionError(text, code=code, request=message.shown, **more)
