"""Messages to real brokers: what arrives, what is sent twice (nothing), and what a failure says about the message."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import kombu
import pytest

from dist_task.errors import ExecutionError
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.mq import MqExecutor, shelf
from tests.brokers import PASSWORD, QUOTED_PASSWORD, SMALL_MESSAGE_BYTES, USER, Server, free_port

from .conftest import verdict
from .tap import Fate, Tap, tapped

Connect = Callable[..., None]
TIMEOUT = ("TIMEOUT", True, False)
LOST = ("CONNECTION_LOST", True, False)
REFUSED = ("CONNECTION_REFUSED", False, False)
CONNECT_TIMEOUT = ("CONNECT_TIMEOUT", False, False)
SENT = {"order_id": "order-1", "status": "已支付"}
numbers = count()


@pytest.fixture
def mq() -> Iterator[MqExecutor]:
    executor = MqExecutor()
    yield executor
    executor.close()


@pytest.fixture
def connect(settings: Any) -> Connect:
    """Registers the connection `mq`."""

    def register(url: str, **config: Any) -> None:
        settings.DIST_TASK = {
            **settings.DIST_TASK,
            "CONNECTIONS": {"mq": {"kind": "mq", "url": url, **config}},
        }

    return register


@pytest.fixture
def topic() -> str:
    """A name that no other test uses."""
    return f"payment.completed.{next(numbers)}"


@pytest.fixture
def memory(connect: Connect) -> None:
    connect("memory://")


@pytest.fixture(params=["rabbitmq", "redis"])
def tap(request: pytest.FixtureRequest, connect: Connect, topic: str) -> Iterator[Tap]:
    """Stands before either broker; the connection `mq` goes through it, and a queue takes what is sent."""
    port = request.getfixturevalue(request.param)
    with tapped(port) as tap:
        connect(url_of(request.param, tap.port))
        tap.watch(b"LPUSH" if request.param == "redis" else topic.encode())
        if request.param == "rabbitmq":
            declare(port, topic)
        tap.queue = lambda: taken(request.param, port, topic)  # type: ignore[attr-defined]  # of this test's topic
        yield tap


def url_of(kind: str, port: int) -> str:
    scheme, user = ("amqp", USER) if kind == "rabbitmq" else ("redis", "")
    return f"{scheme}://{user}:{QUOTED_PASSWORD}@127.0.0.1:{port}/"


def client_of(kind: str, port: int) -> kombu.Connection:
    return kombu.Connection(url_of(kind, port))


def declare(port: int, topic: str, **more: Any) -> None:
    with client_of("rabbitmq", port) as client:
        kombu.Queue(topic, durable=True, **more)(client.channel()).declare()


def taken(kind: str, port: int, topic: str) -> list[kombu.Message]:
    """Everything that waits in the queue, as a consumer of its own sees it."""
    with client_of(kind, port) as client:
        queue = kombu.Queue(topic)(client.channel())
        return list(iter(lambda: queue.get(no_ack=True), None))


def call_of(topic: str, *, attempt: int = 1, seconds: float = 20.0, value: Any = None, **config: Any) -> TaskCall:
    return TaskCall(
        instance_id="order-1",
        task_id="notify",
        op="action",
        item=0,
        attempt=attempt,
        config={"topic": topic, **config},
        input=SENT if value is None else value,
        timeout_seconds=seconds,
    )


def failure(mq: MqExecutor, call: TaskCall) -> ExecutionError:
    with pytest.raises(ExecutionError) as caught:
        mq.execute(call)
    return caught.value


# What is refused when a flow is posted.


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "topic is required: the routing key, or the name of a queue"),
        ({"topic": ""}, "topic is required: the routing key, or the name of a queue"),
        ({"topic": 7}, "topic must be a string"),
        ({"topic": "t" * 256}, "topic must have at most 255 bytes and no control characters"),
        ({"topic": "扣" * 86}, "topic must have at most 255 bytes and no control characters"),
        ({"topic": "a\nb"}, "topic must have at most 255 bytes and no control characters"),
        ({"topic": "t", "exchange": 1}, "exchange must be a string"),
        ({"topic": "t", "url": "amqp://x"}, "unknown key url; known are connection, exchange, headers, persistent,"),
        ({"topic": "t", "connection": ""}, "connection must be the name of a registered connection"),
        ({"topic": "t", "connection": "other"}, "no mq connection named other is registered; register it in"),
        ({"topic": "t", "persistent": 1}, "persistent must be true or false"),
        ({"topic": "t", "headers": {"a": []}}, "headers must be an object of strings, numbers and booleans"),
        ({"topic": "t", "headers": {"CC": "x"}}, "the header 'CC' may not be set"),
        ({"topic": "t", "headers": {"X-Dist-Task-Op": "x"}}, "the header 'X-Dist-Task-Op' may not be set"),
        ({"topic": "t", "headers": {"idempotency-key": "x"}}, "the header 'idempotency-key' may not be set"),
        ({"topic": "t", "headers": {"a" * 129: "x"}}, "the header 'aaa"),
        ({"topic": "t", "exchange": "x"}, "the connection mq leads to a broker without exchanges"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(memory: None, mq: MqExecutor, config: Any, sentence: str) -> None:
    problems = mq.check_config(config)

    assert len(problems) == 1
    assert problems[0].startswith(sentence)


def test_a_sound_configuration_has_no_problems(connect: Connect, mq: MqExecutor) -> None:
    connect("amqp://broker", topics=["payment.*"], exchange="events")

    assert mq.check_config({"topic": "t" * 255} | {"topic": "payment.done", "exchange": "events"}) == []
    assert mq.check_config({"topic": "payment.done", "headers": {"a": "b", "c": 1}, "persistent": False}) == []


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"topic": "refund.done"}, "the topic refund.done is not on the list of topics of the connection mq"),
        ({"topic": "payment.done", "exchange": "x"}, "the connection mq has a list of topics, and so an exchange of"),
    ],
)
def test_a_connection_may_allow_some_topics_only(connect: Connect, mq: MqExecutor, config: Any, sentence: str) -> None:
    connect("amqp://broker", topics=["payment.*"], exchange="events")

    problems = mq.check_config(config)
    error = failure(mq, call_of(**config))

    assert [problem.startswith(sentence) for problem in problems] == [True]
    assert verdict(error) == ("FORBIDDEN_TOPIC", False, True), "the list may have changed since the flow was posted"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "url is required, like amqp://user:password@broker:5672/vhost"),
        ({"url": "http://broker"}, "url must begin with one of amqp://, amqps://, redis://, rediss://"),
        ({"url": "amqp://"}, "url is not a valid URL"),
        ({"url": "amqp://a;b"}, "url is not a valid URL"),
        ({"url": "amqp://a b"}, "url is not a valid URL"),
        ({"url": "amqp://broker:x"}, "url is not a valid URL"),
        ({"url": "amqp://[::g]"}, "url is not a valid URL"),
        ({"url": "amqp://broker?heartbeat=1"}, "url must not have a query; confirm_seconds and ca_file are keys of"),
        ({"url": "redis://broker/x"}, "the path of a redis URL is the number of a database, like redis://broker:63"),
        ({"url": "redis://broker", "exchange": "x"}, "exchange is for amqp:// and amqps:// only"),
        ({"url": "amqp://broker", "exchange": 1}, "exchange must be a string"),
        ({"url": "amqp://broker", "ca_file": "x"}, "ca_file must be the path of a file, and is for amqps:// and"),
        ({"url": "amqp://broker", "topics": "x"}, "topics must be a list of patterns, like payment.*"),
        ({"url": "amqp://broker", "confirm_seconds": 0}, "confirm_seconds must be a number from 0.1 to 3600.0"),
        ({"url": "amqp://broker", "max_bytes": 1.5}, "max_bytes must be a whole number from 1 to 134217728"),
        ({"url": "amqp://broker", "retry": True}, "unknown key retry; known are ca_file, cap, confirm_seconds"),
    ],
)
def test_a_wrong_connection_is_one_sentence_and_calls_nothing(
    settings: Any, mq: MqExecutor, config: Any, sentence: str
) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": {"mq": {"kind": "mq", **config}}}

    problems = mq.check_connection(config)

    assert [problem.startswith(sentence) for problem in problems] == [True]
    assert mq.check_config({"topic": "t"}) == [f"the connection mq is not sound: {problems[0]}"]
    assert verdict(failure(mq, call_of("t"))) == ("INVALID_CONNECTION", False, False)


@pytest.mark.parametrize("url", ["amqp://[::1]:5672/", "amqps://u:p@broker/a%2Fb", "rediss://:p@broker:6380/3"])
def test_a_sound_connection_has_no_problems(mq: MqExecutor, url: str) -> None:
    assert mq.check_connection({"url": url}) == []


def test_the_memory_broker_is_not_for_production(settings: Any, mq: MqExecutor) -> None:
    settings.PROFILE = "production"

    assert mq.check_connection({"url": "memory://"}) == ["memory:// is for tests and development only"]


def test_without_its_connection_nothing_is_called(mq: MqExecutor) -> None:
    assert verdict(failure(mq, call_of("t"))) == ("NO_CONNECTION", False, False)


# What arrives.


def test_the_memory_broker_keeps_messages_in_this_process(memory: None, mq: MqExecutor, topic: str) -> None:
    result = mq.execute(call_of(topic))

    with kombu.Connection("memory://") as client:
        message = kombu.Queue(topic)(client.channel()).get()
    assert message.payload == SENT
    assert result.output == {"message_id": call_of(topic).idempotency_key, "topic": topic, "connection": "mq"}


def test_a_message_arrives_whole_and_with_its_identity(tap: Any, mq: MqExecutor, topic: str) -> None:
    call = call_of(topic, headers={"tenant": "acme", "weight": 3})
    before = int(time.time())

    mq.execute(call)

    [message] = tap.queue()
    properties = message.properties
    assert json.loads(message.body) == SENT
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    assert {**call.headers, "tenant": "acme", "weight": 3}.items() <= message.headers.items()
    assert (properties["message_id"], properties["correlation_id"]) == (call.idempotency_key, "order-1")
    assert (properties["delivery_mode"], properties["app_id"]) == (2, "dist_task")
    assert before <= properties["timestamp"] <= time.time()


def test_a_message_that_need_not_last_says_so(tap: Any, mq: MqExecutor, topic: str) -> None:
    mq.execute(call_of(topic, persistent=False))

    assert tap.queue()[0].properties["delivery_mode"] == 1


def test_every_attempt_carries_the_same_id(tap: Any, mq: MqExecutor, topic: str) -> None:
    for attempt in (1, 2):
        mq.execute(call_of(topic, attempt=attempt))

    messages = tap.queue()
    assert len({message.properties["message_id"] for message in messages}) == 1
    assert [message.headers["X-Dist-Task-Attempt"] for message in messages] == ["1", "2"]


def test_an_exchange_routes_by_the_topic(rabbitmq: int, connect: Connect, mq: MqExecutor, topic: str) -> None:
    exchange = kombu.Exchange(f"events-{topic}", type="topic", durable=False)
    with client_of("rabbitmq", rabbitmq) as client:
        kombu.Queue(topic, exchange=exchange, routing_key="payment.#")(client.channel()).declare()
    connect(url_of("rabbitmq", rabbitmq), exchange=exchange.name)

    mq.execute(call_of("payment.completed"))

    [message] = taken("rabbitmq", rabbitmq, topic)
    assert message.delivery_info["routing_key"] == "payment.completed"


def test_the_log_shows_what_was_sent_without_secrets(tap: Any, mq: MqExecutor, topic: str) -> None:
    call = call_of(topic, headers={"api-key": "s3cret"}, value={"password": "s3cret", "text": "x" * 20_000})

    result = mq.execute(call)

    request: Any = result.request
    assert (request["topic"], request["message_id"]) == (topic, call.idempotency_key)
    assert request["broker"].endswith(f"://127.0.0.1:{tap.port}/")
    assert request["body"]["password"] == request["headers"]["api-key"] == "***"
    assert len(json.dumps(request)) < 10_000
    assert result.response == {"confirmed": True}
    assert "s3cret" in str(tap.queue()[0].headers)


# Connections.


def test_a_connection_is_used_again(tap: Any, mq: MqExecutor, topic: str) -> None:
    mq.execute(call_of(topic))
    before = tap.connections

    for _time in range(5):
        mq.execute(call_of(topic))

    assert tap.connections == before
    assert len(tap.queue()) == 6


def test_one_that_broke_while_it_rested_is_replaced_before_anything_is_sent(
    tap: Any, mq: MqExecutor, topic: str
) -> None:
    mq.execute(call_of(topic))
    tap.cut_all()

    mq.execute(call_of(topic))

    assert tap.seen == len(tap.queue()) == 2


def test_a_broker_that_went_down_meanwhile_was_sent_nothing(tap: Any, mq: MqExecutor, topic: str) -> None:
    mq.execute(call_of(topic))
    tap.close()

    error = failure(mq, call_of(topic))

    assert verdict(error) == REFUSED
    assert tap.seen == 1


def test_one_that_rested_for_long_is_not_used_again(
    tap: Any, mq: MqExecutor, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "IDLE_SECONDS", 0.0)
    mq.execute(call_of(topic))
    before = tap.connections

    mq.execute(call_of(topic))

    assert tap.connections > before


def test_many_threads_send_each_message_once(tap: Any, mq: MqExecutor, topic: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: mq.execute(call_of(topic, value={"number": number})), range(80)))

    assert sorted(json.loads(message.body)["number"] for message in tap.queue()) == list(range(80))


def test_closing_gives_all_connections_back(rabbitmq: int, mq: MqExecutor, connect: Connect, topic: str) -> None:
    declare(rabbitmq, topic)
    with tapped(rabbitmq) as tap:
        connect(url_of("rabbitmq", tap.port))
        mq.execute(call_of(topic))
        before = tap.connections

        mq.close()
        mq.execute(call_of(topic))

        assert tap.connections == before + 1


@pytest.fixture(params=["rabbitmq", "redis"])
def secured(request: pytest.FixtureRequest, topic: str) -> tuple[Server, str]:
    """A broker behind TLS, and its URL but for the host."""
    server: Server = request.getfixturevalue(f"{request.param}_server")
    if request.param == "rabbitmq":
        declare(server.port, topic)
    url = url_of(request.param, server.tls_port).replace("://", "s://", 1)
    return server, url.replace("127.0.0.1", "%s")


def test_a_broker_behind_tls_is_used_again_and_again(
    secured: tuple[Server, str], connect: Connect, mq: MqExecutor, topic: str
) -> None:
    server, url = secured
    connect(url.replace("%s", "localhost"), ca_file=server.ca_file)

    for _time in range(3):
        mq.execute(call_of(topic))

    kind = "rabbitmq" if url.startswith("amqp") else "redis"
    assert len(taken(kind, server.port, topic)) == 3


@pytest.mark.parametrize(("host", "is_trusted"), [("127.0.0.1", True), ("localhost", False)])
def test_a_certificate_for_another_name_or_of_a_stranger_is_refused(
    secured: tuple[Server, str], connect: Connect, mq: MqExecutor, topic: str, host: str, is_trusted: bool
) -> None:
    server, url = secured
    connect(url.replace("%s", host), **({"ca_file": server.ca_file} if is_trusted else {}))

    error = failure(mq, call_of(topic))

    assert verdict(error) == REFUSED
    assert "certificate verify failed" in str(error)


# Failures: what they say about the message.


@pytest.mark.parametrize("kind", ["rabbitmq", "redis"])
def test_a_broker_that_is_down_was_sent_nothing(connect: Connect, mq: MqExecutor, kind: str) -> None:
    port = free_port()
    connect(url_of(kind, port))

    error = failure(mq, call_of("t"))

    assert verdict(error) == REFUSED
    assert str(error) == f"no connection to 127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize("kind", ["rabbitmq", "redis"])
def test_a_broker_that_never_says_a_word_was_sent_nothing(connect: Connect, mq: MqExecutor, kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connect(url_of(kind, mute.getsockname()[1]))
        began_at = time.monotonic()

        error = failure(mq, call_of("t", seconds=1.0))

    assert verdict(error) == CONNECT_TIMEOUT
    assert time.monotonic() - began_at < 10


def test_a_lost_answer_is_unknown_and_the_message_was_sent_once(tap: Any, mq: MqExecutor, topic: str) -> None:
    tap.watch(tap._marker, fate=Fate.CUT)

    error = failure(mq, call_of(topic))

    assert verdict(error) == LOST
    assert tap.seen == 1
    assert len(tap.queue()) == 1, "the broker took it all the same"


def test_an_answer_that_never_comes_is_unknown_at_the_deadline(tap: Any, mq: MqExecutor, topic: str) -> None:
    tap.watch(tap._marker, fate=Fate.HELD)
    began_at = time.monotonic()

    error = failure(mq, call_of(topic, seconds=2.0))

    assert verdict(error) == TIMEOUT
    assert time.monotonic() - began_at < 10
    assert tap.seen == 1


def test_a_connection_may_wait_for_its_confirms_for_less(
    rabbitmq: int, connect: Connect, mq: MqExecutor, topic: str
) -> None:
    declare(rabbitmq, topic)
    with tapped(rabbitmq) as tap:
        tap.watch(topic.encode(), fate=Fate.HELD)
        connect(url_of("rabbitmq", tap.port), confirm_seconds=0.5)

        error = failure(mq, call_of(topic, seconds=600.0))

    assert (error.code, str(error)) == ("TIMEOUT", "no answer within 0.5 seconds")


def test_a_connection_whose_answer_was_lost_is_never_used_again(tap: Any, mq: MqExecutor, topic: str) -> None:
    tap.watch(tap._marker, fate=Fate.HELD)
    failure(mq, call_of(topic, seconds=1.0))
    before = tap.connections
    tap.forgive()

    mq.execute(call_of(topic, attempt=2, seconds=1.0))

    assert tap.connections > before
    assert [message.headers["X-Dist-Task-Attempt"] for message in tap.queue()] == ["1", "2"]


def test_a_message_that_no_queue_takes_has_failed(rabbitmq: int, connect: Connect, mq: MqExecutor, topic: str) -> None:
    with tapped(rabbitmq) as tap:
        connect(url_of("rabbitmq", tap.port))

        errors = [failure(mq, call_of(topic)) for _time in range(3)]
        declare(rabbitmq, topic)
        mq.execute(call_of(topic))

        assert [verdict(error) for error in errors] == [("UNROUTABLE", False, False)] * 3
        assert str(errors[0]) == f"no queue takes messages with the topic {topic} (exchange: the default one)"
        assert tap.connections == 1, "nothing was wrong with the connection"
    assert len(taken("rabbitmq", rabbitmq, topic)) == 1


def test_a_nack_is_a_failure(rabbitmq: int, connect: Connect, mq: MqExecutor, topic: str) -> None:
    declare(rabbitmq, topic, queue_arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    connect(url_of("rabbitmq", rabbitmq))
    mq.execute(call_of(topic))

    error = failure(mq, call_of(topic, value={"number": 2}))

    assert verdict(error) == ("NACKED", False, False)


def test_an_exchange_that_is_not_there_is_a_failure(
    rabbitmq: int, connect: Connect, mq: MqExecutor, topic: str
) -> None:
    connect(url_of("rabbitmq", rabbitmq))

    error = failure(mq, call_of(topic, exchange="nowhere"))

    assert verdict(error) == ("AMQP_404", False, False)
    assert "no exchange 'nowhere'" in str(error)


def test_what_the_broker_finds_too_large_stays_so(rabbitmq: int, connect: Connect, mq: MqExecutor, topic: str) -> None:
    declare(rabbitmq, topic)
    connect(url_of("rabbitmq", rabbitmq))

    error = failure(mq, call_of(topic, value={"text": "x" * SMALL_MESSAGE_BYTES}))

    assert verdict(error) == ("AMQP_406", False, True)


def test_what_is_larger_than_its_connection_takes_is_not_sent(connect: Connect, mq: MqExecutor) -> None:
    connect(url_of("rabbitmq", free_port()), max_bytes=100)

    assert verdict(failure(mq, call_of("t", value={"text": "x" * 100}))) == ("MESSAGE_TOO_LARGE", False, True)


def test_what_redis_refuses_has_failed(redis: int, connect: Connect, mq: MqExecutor, topic: str) -> None:
    with client_of("redis", redis) as client:
        client.channel().client.set(topic, "no list")
    connect(url_of("redis", redis))

    error = failure(mq, call_of(topic))

    assert verdict(error) == ("REFUSED", False, False)
    assert "WRONGTYPE" in str(error)


@pytest.mark.parametrize("kind", ["rabbitmq", "redis"])
def test_a_wrong_password_was_sent_nothing_and_is_shown_nowhere(
    request: pytest.FixtureRequest, connect: Connect, mq: MqExecutor, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    connect(url_of(kind, request.getfixturevalue(kind)).replace(QUOTED_PASSWORD, "wr0ng%3Apass"))

    error = failure(mq, call_of("t"))

    assert verdict(error) == REFUSED
    assert "wr0ng" not in f"{error} {error.request} {error.response} {caplog.text}"


def test_credentials_are_in_no_error_and_no_log(
    tap: Any, mq: MqExecutor, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    result: Result = mq.execute(call_of(topic))
    tap.watch(tap._marker, fate=Fate.CUT)

    error = failure(mq, call_of(topic))

    shown = f"{result} {error} {error.request} {error.response} {caplog.text}"
    assert PASSWORD not in shown
    assert QUOTED_PASSWORD not in shown
