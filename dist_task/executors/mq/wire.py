"""One open connection to a broker, and what its failures mean for the message.

Before the first byte of a message all failures are definite: it was not published. From then on only an answer is: an
ack, a nack, a return, a refusal. Everything else leaves an unknown outcome. kombu and the libraries below it are never
left to publish by themselves a second time.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol
from urllib.parse import unquote

import amqp
import kombu
from amqp import spec
from django.utils.translation import gettext as _

from dist_task.errors import ExecutionError
from dist_task.executors import failures

from .broker import DEFAULT_PORTS, Broker
from .message import Message

LEAST_SECONDS = 0.001
CLOSE_SECONDS = 1.0
PERMANENT_REPLIES = frozenset({311, 403, 406, 540})
"""Too large, access refused, precondition failed, not implemented: they will be so next time."""
TRANSPORTS = {"amqp": "pyamqp", "amqps": "pyamqp", "memory": "memory", "redis": "redis", "rediss": "redis"}
NEVER = 0  # so many times kombu connects again by itself


class Wire(Protocol):
    """For one thread at a time."""

    def is_fit(self) -> bool:
        """Whether it still stands, after a rest."""

    def send(self, message: Message, *, ends_at: float) -> ExecutionError | None:
        """Why the broker refused it, with the wire as good as before; raises ExecutionError where it is not."""

    def close(self) -> None:
        """With good manners, within a second or so."""

    def drop(self) -> None:
        """At once."""


def opened(broker: Broker, *, seconds: float) -> Wire:
    """Raises ExecutionError, and nothing was sent. `seconds` is for opening it, and for each answer of Redis."""
    ends_at = time.monotonic() + seconds
    client = _client(broker, seconds=seconds)
    try:
        with _opening(client, broker=broker, ends_at=ends_at):
            wire = WIRES[TRANSPORTS[broker.parts.scheme]](client, broker=broker, seconds=seconds)
            if time.monotonic() > ends_at:  # a name with several addresses takes its time for each
                raise TimeoutError
            return wire
    except BaseException:
        _abandon(client)
        raise


@contextmanager
def _opening(client: kombu.Connection, *, broker: Broker, ends_at: float) -> Iterator[None]:
    try:
        yield
    except (*client.connection_errors, *client.channel_errors) as error:
        if _is_timeout(error) or time.monotonic() >= ends_at:
            raise failures.not_connected_in_time() from None
        raise failures.not_connected(broker.where, _reason(error, broker=broker)) from None


class AmqpWire:
    """RabbitMQ: a channel in confirm mode with one message under way at most.

    It waits for the confirm itself: amqp's own wait begins its time anew with every frame, takes any confirm for that
    of the last message, and leaves the one of a returned message to the next.
    """

    def __init__(self, client: kombu.Connection, *, broker: Broker, seconds: float) -> None:
        self._client, self._broker = client, broker
        client.ensure_connection(max_retries=NEVER, reraise_as_library_errors=False)
        self._link = client.connection  # asked for once: where it is lost, kombu would make another
        self._socket = self._link.sock
        self._socket.settimeout(seconds)
        channel = client.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        self._producer = kombu.Producer(channel, on_return=self._on_return)
        self._count = 0
        self._answer: ExecutionError | bool | None = None
        self._returned: ExecutionError | None = None

    def is_fit(self) -> bool:
        """Reads what came meanwhile: the broker's goodbye among it."""
        try:
            while True:
                self._link.drain_events(timeout=0)
        except TimeoutError:
            return True
        except (*self._client.connection_errors, *self._client.channel_errors):
            return False

    def send(self, message: Message, *, ends_at: float) -> ExecutionError | None:
        began_at = time.monotonic()
        self._count += 1
        self._answer = self._returned = None
        try:
            _publish(self._producer, message, seconds=_left(ends_at))
            while self._answer is None:
                self._link.drain_events(timeout=_left(ends_at))
        except (*self._client.connection_errors, *self._client.channel_errors) as error:
            raise self._failure(error, seconds=ends_at - began_at, is_late=time.monotonic() >= ends_at) from None
        return self._answer if isinstance(self._answer, ExecutionError) else self._returned

    def close(self) -> None:
        self._hurry()
        self._client.release()

    def drop(self) -> None:
        self._hurry()
        self._client.collect()

    def _hurry(self) -> None:
        """Both wait for an answer: AMQP for a goodbye, TLS for another."""
        with suppress(OSError):  # it is closed already
            self._socket.settimeout(CLOSE_SECONDS)

    def _on_ack(self, number: int, multiple: bool) -> None:
        if number >= self._count:
            self._answer = True

    def _on_nack(self, number: int, multiple: bool) -> None:
        if number >= self._count:
            self._answer = ExecutionError(_("the broker did not take the message (nack)"), code="NACKED")

    def _on_return(self, error: Exception, exchange: str, topic: str, returned: object) -> None:
        """Comes before the ack: with no queue for it the broker has done all that it can do."""
        message = _("no queue takes messages with the topic %(topic)s (exchange: %(exchange)s)")
        values = {"topic": topic, "exchange": exchange or _("the default one")}
        self._returned = ExecutionError(message % values, code="UNROUTABLE")

    def _failure(self, error: Exception, *, seconds: float, is_late: bool) -> ExecutionError:
        if isinstance(error, amqp.ChannelError) and error.method_sig == spec.Basic.Publish:
            return _refused(error, broker=self._broker)
        if is_late or isinstance(error, TimeoutError):
            return failures.no_answer_in_time(round(seconds, 3))
        return failures.lost(_text(error, broker=self._broker))


class MemoryWire:
    """For tests: queues in this process."""

    def __init__(self, client: kombu.Connection, *, broker: Broker, seconds: float) -> None:
        self._client, self._broker = client, broker
        client.ensure_connection(max_retries=NEVER, reraise_as_library_errors=False)
        self._channel = client.channel()
        self._producer = kombu.Producer(self._channel)

    def is_fit(self) -> bool:
        return True

    def send(self, message: Message, *, ends_at: float) -> ExecutionError | None:
        _publish(self._producer, message, seconds=_left(ends_at))
        return None

    def close(self) -> None:
        self._client.release()

    def drop(self) -> None:
        self._client.release()


class RedisWire(MemoryWire):
    """Redis has no confirms: the answer to LPUSH is one. Its client's socket keeps the time that it was opened with."""

    def __init__(self, client: kombu.Connection, *, broker: Broker, seconds: float) -> None:
        super().__init__(client, broker=broker, seconds=seconds)
        self._seconds = min(seconds, broker.confirm_seconds)
        self._ping()

    def is_fit(self) -> bool:
        """Asked of the server: else redis-py would connect anew within LPUSH, and its failure look like a loss."""
        try:
            self._ping()
        except (*self._client.connection_errors, *self._client.channel_errors):
            return False
        return True

    def send(self, message: Message, *, ends_at: float) -> ExecutionError | None:
        from redis.exceptions import ResponseError

        try:
            _publish(self._producer, message, seconds=self._seconds)
        except ResponseError as error:
            return ExecutionError(
                _("the broker refused the message: %(reason)s") % {"reason": _text(error, broker=self._broker)},
                code="REFUSED",
            )
        except (*self._client.connection_errors, *self._client.channel_errors) as error:
            if _is_timeout(error):
                raise failures.no_answer_in_time(round(self._seconds, 3)) from None
            raise failures.lost(_text(error, broker=self._broker)) from None
        return None

    def _ping(self) -> None:
        """On the connection that LPUSH will take."""
        with self._channel.conn_or_acquire() as server:
            server.ping()


WIRES: dict[str, Callable[..., Wire]] = {"memory": MemoryWire, "pyamqp": AmqpWire, "redis": RedisWire}


def _client(broker: Broker, *, seconds: float) -> kombu.Connection:
    """From the parts of the URL: kombu reads more into a URL than it should (`;`, options, no TLS checks)."""
    parts = broker.parts
    is_redis = parts.scheme.startswith("redis")
    host = parts.hostname or ""
    return kombu.Connection(
        hostname=f"[{host}]" if ":" in host and not is_redis else host,
        port=parts.port or DEFAULT_PORTS[parts.scheme],
        userid=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        virtual_host=unquote(parts.path[1:]) or ("0" if is_redis else "/"),
        transport=TRANSPORTS[parts.scheme],
        ssl=_tls(broker),
        connect_timeout=seconds,
        heartbeat=0,
        transport_options=_redis_options(broker, seconds=seconds) if is_redis else {},
    )


def _redis_options(broker: Broker, *, seconds: float) -> dict[str, Any]:
    return {
        "socket_timeout": min(seconds, broker.confirm_seconds),
        "socket_connect_timeout": seconds,
        "retry_on_timeout": False,
    }


def _abandon(client: kombu.Connection) -> None:
    """Closes what was opened of it. `collect`, which waits for nobody, is for AMQP only."""
    if client.transport_cls == "pyamqp":
        client.collect()
    else:
        client.release()


def _tls(broker: Broker) -> dict[str, Any] | bool:
    """Certificate and host name are always checked, which neither transport of kombu does by itself."""
    if broker.parts.scheme == "amqps":
        trusted = {"ca_certs": broker.ca_file} if broker.ca_file else {}
        return {"server_hostname": broker.parts.hostname, "cert_reqs": ssl.CERT_REQUIRED, **trusted}
    if broker.parts.scheme == "rediss":
        trusted = {"ssl_ca_certs": broker.ca_file} if broker.ca_file else {}
        return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **trusted}
    return False


def _publish(producer: kombu.Producer, message: Message, *, seconds: float) -> None:
    """Sends it once. Nothing is declared: exchanges and queues are the deployment's."""
    producer.publish(
        message.body,
        exchange=message.exchange,
        routing_key=message.topic,
        headers=dict(message.headers),
        content_type="application/json",
        content_encoding="utf-8",
        delivery_mode=2 if message.is_persistent else 1,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        timestamp=message.sent_at,
        app_id="dist_task",
        mandatory=True,
        retry=False,
        timeout=seconds,
    )


def _refused(error: amqp.ChannelError, *, broker: Broker) -> ExecutionError:
    """The broker closed the channel because of this message, and has not routed it."""
    return ExecutionError(
        _("the broker refused the message: %(reason)s") % {"reason": _text(error, broker=broker)},
        code=f"AMQP_{error.reply_code}",
        permanent=error.reply_code in PERMANENT_REPLIES,
    )


def _left(ends_at: float) -> float:
    return max(ends_at - time.monotonic(), LEAST_SECONDS)


def _is_timeout(error: BaseException) -> bool:
    """redis-py has one of its own, which is no TimeoutError."""
    return isinstance(error, TimeoutError) or type(error).__name__ == "TimeoutError"


def _reason(error: BaseException, *, broker: Broker) -> str:
    """The system's words where it has some, so that equal failures look alike."""
    for each in (error, error.__context__):
        if isinstance(each, OSError) and not isinstance(each, ssl.SSLError) and (each.errno or 0) > 0:
            return os.strerror(each.errno or 0)
    return _text(error, broker=broker)


def _text(error: BaseException, *, broker: Broker) -> str:
    return broker.without_secrets(str(error) or type(error).__name__)
