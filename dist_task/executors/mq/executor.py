"""What a worker calls for an `mq` task, in a thread: kombu blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.checks import unknown_keys
from dist_task.executors.connections import CONNECTIONS, Connection
from dist_task.problems import Fault, faults

from .broker import Broker, connection_problems, name_problem
from .message import header_problems, logged_request, message_of
from .shelf import Shelf

KEYS = frozenset({"connection", "exchange", "headers", "persistent", "topic"})
DEFAULT_CONNECTION = "mq"
EXAMPLE = '{"%s": {"kind": "mq", "url": "amqp://user:password@broker:5672/vhost"}}'


class MqExecutor:
    kind: ClassVar[str] = "mq"
    fixed_keys: ClassVar[frozenset[str]] = frozenset({"connection", "exchange", "persistent", "topic"})
    examples: ClassVar[Mapping[str, Any]] = {
        "topic": "payment.completed",
        "connection": "mq",
        "exchange": "events",
        "headers": {"tenant": "acme"},
        "persistent": True,
    }

    def __init__(self) -> None:
        self._shelf = Shelf()

    def check_config(self, config: Mapping[str, Any]) -> list[str]:
        problems = unknown_keys(config, known=KEYS)
        problems += _routing_problems(config)
        problems += faults("headers", header_problems(config.get("headers", {})))
        if not isinstance(config.get("persistent", True), bool):
            problems.append(Fault(_("persistent must be true or false"), key="persistent"))
        return problems

    def check_connection(self, config: Mapping[str, Any]) -> list[str]:
        return connection_problems(config)

    def target(self, config: Mapping[str, Any]) -> str:
        return f"{config.get('connection', DEFAULT_CONNECTION)}/{config['topic']}"

    def execute(self, call: TaskCall) -> Result:
        name = call.config.get("connection", DEFAULT_CONNECTION)
        broker = Broker.of(CONNECTIONS.find(name, kind=self.kind))
        message = message_of(call, broker=broker)
        request = logged_request(message, broker=broker, call=call)
        try:
            self._shelf.publish(message, broker=broker, timeout_seconds=call.timeout_seconds)
        except ExecutionError as error:
            error.request = request
            raise
        output = {"message_id": message.message_id, "topic": message.topic, "connection": broker.name}
        return Result(output=output, request=request, response={"confirmed": True})

    def close(self) -> None:
        self._shelf.close()


def _routing_problems(config: Mapping[str, Any]) -> list[str]:
    """Of where the message shall go; the connection is asked about it only where the names are sound."""
    topic, exchange, name = config.get("topic"), config.get("exchange"), config.get("connection", DEFAULT_CONNECTION)
    lacking = _("topic is required: the routing key, or the name of a queue")
    problems: list[str] = [] if topic else [Fault(lacking, key="topic")]
    given = [("topic", topic)] if topic else []
    given += [("exchange", exchange)] if "exchange" in config else []
    problems += [Fault(problem, key=key) for key, value in given if (problem := name_problem(key, value))]
    if not isinstance(name, str) or not name:
        return [*problems, Fault(_("connection must be the name of a registered connection"), key="connection")]
    connection = CONNECTIONS.get(name, kind=MqExecutor.kind)
    if connection is None:
        return [*problems, Fault(_not_registered(name), key="connection")]
    return problems or _refusals(connection, topic=str(topic), exchange=exchange)


def _not_registered(name: str) -> str:
    message = _(
        "no mq connection named %(name)s is registered; register it in the environment variable"
        " DIST_TASK_CONNECTIONS, for example %(example)s"
    )
    return message % {"name": name, "example": EXAMPLE % name}


def _refusals(connection: Connection, *, topic: str, exchange: str | None) -> list[str]:
    try:
        broker = Broker.of(connection, is_posted=True)
    except ExecutionError as error:
        return [Fault(str(error), key="connection")]
    refusal = broker.refusal(topic=topic, exchange=exchange)
    return [Fault(refusal, key="topic" if exchange is None else "exchange")] if refusal else []
