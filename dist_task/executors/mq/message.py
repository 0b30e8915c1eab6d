"""What an `mq` task publishes, from its configuration and its attempt. Pure, but for the clock of the time stamp."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.executors.base import TaskCall
from dist_task.executors.checks import TOKEN
from dist_task.executors.secrets import SECRETS
from dist_task.payload import body_of, for_log, mask

from .broker import Broker

LONGEST_HEADER_NAME = 128
FORBIDDEN_HEADERS = frozenset({"bcc", "cc", "idempotency-key", "traceparent"})
"""Ours, and those that make RabbitMQ send copies to other queues."""

Header = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Message:
    """The same id for every attempt of a task run: a consumer that keeps ids takes each message once."""

    topic: str
    exchange: str
    body: bytes
    headers: Mapping[str, Header]
    is_persistent: bool
    message_id: str
    correlation_id: str
    sent_at: int  # seconds since 1970


def message_of(call: TaskCall, *, broker: Broker) -> Message:
    """Raises ExecutionError for what this broker may not be sent."""
    config = call.config
    if problem := broker.refusal(topic=config["topic"], exchange=config.get("exchange")):
        raise ExecutionError(problem, code="FORBIDDEN_TOPIC", permanent=True)
    body = body_of(call.filled_input)
    if len(body) > broker.max_bytes:
        text = _("the message has %(size)d bytes; the connection takes %(most)d")
        values = {"size": len(body), "most": broker.max_bytes}
        raise ExecutionError(text % values, code="MESSAGE_TOO_LARGE", permanent=True)
    return Message(
        topic=config["topic"],
        exchange=config.get("exchange", broker.exchange),
        body=body,
        headers={**SECRETS.fill(config.get("headers", {})), **call.headers},
        is_persistent=config.get("persistent", True),
        message_id=call.idempotency_key,
        correlation_id=call.instance_id,
        sent_at=int(time.time()),
    )


def logged_request(message: Message, *, broker: Broker, call: TaskCall) -> dict[str, Any]:
    """For the log: masked first, then cut. Of the headers only the configured ones can hold a secret."""
    return {
        "connection": broker.name,
        "broker": broker.shown_url,
        "exchange": message.exchange,
        "topic": message.topic,
        "message_id": message.message_id,
        "correlation_id": message.correlation_id,
        "persistent": message.is_persistent,
        "headers": {**message.headers, **mask(call.config.get("headers", {}))},
        "body": for_log(call.input, text=message.body, limit=conf.MAX_LOG_BYTES),
    }


def header_problems(headers: object) -> list[str]:
    if not isinstance(headers, dict) or not all(isinstance(value, Header) for value in headers.values()):
        return [_("headers must be an object of strings, numbers and booleans")]
    return [
        _("the header %(name)s may not be set") % {"name": ascii(name)[:80]}
        for name in headers
        if not _may_be_set(name)
    ]


def _may_be_set(name: str) -> bool:
    lower = name.lower()
    is_ours = lower in FORBIDDEN_HEADERS or lower.startswith("x-dist-task")
    return bool(TOKEN.fullmatch(name)) and len(name) <= LONGEST_HEADER_NAME and not is_ours
