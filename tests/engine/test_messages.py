"""Flows whose tasks publish messages, through a real worker and a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import kombu
import pytest

from dist_task.engine.outcome import RETRYABLE, UNKNOWN
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.brokers import PASSWORD, QUOTED_PASSWORD, USER, free_port
from tests.executors.tap import Fate, tapped

from .conftest import begin, finished, make_flow
from .worker import WorkerThread, wait_for

QUEUE = "payment.completed"
PAID = {"user_id": "user-1", "order_id": "order-1", "status": "paid"}
NOTIFY = {"id": "notify", "type": "mq", "config": {"topic": QUEUE}}

Connect = Callable[[int], None]
StartWorker = Callable[[], WorkerThread]


@pytest.fixture
def connect(settings: Any) -> Connect:
    """Registers the RabbitMQ on a port as the connection `mq`."""

    def register(port: int) -> None:
        url = f"amqp://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{port}/"
        settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": {"mq": {"kind": "mq", "url": url}}}

    return register


@pytest.fixture
def queue(rabbitmq: int) -> Any:
    with kombu.Connection(f"amqp://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{rabbitmq}/") as client:
        queue = kombu.Queue(QUEUE, durable=True)(client.channel())
        queue.declare()
        queue.purge()
        yield queue


def test_a_task_publishes_its_parameters(
    rabbitmq: int, connect: Connect, queue: Any, start_worker: StartWorker
) -> None:
    connect(rabbitmq)
    start_worker()

    txn = finished(begin(make_flow(NOTIFY), params={"notify": PAID}))

    message = queue.get(no_ack=True)
    output = TaskRun.objects.get(transaction=txn).output
    assert txn.status == "success"
    assert json.loads(message.body) == PAID
    assert message.properties["correlation_id"] == txn.instance_id
    assert output == {"message_id": message.properties["message_id"], "topic": QUEUE, "connection": "mq"}


def test_a_broker_that_is_down_opens_an_exception(connect: Connect, start_worker: StartWorker) -> None:
    connect(free_port())
    start_worker()

    txn = finished(begin(make_flow(NOTIFY), params={"notify": PAID}))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert txn.status == "failed"
    assert (record.status, record.error_code, record.outcome) == ("open", "CONNECTION_REFUSED", RETRYABLE)


def test_a_lost_confirm_opens_an_exception_that_says_unknown(
    rabbitmq: int, connect: Connect, queue: Any, start_worker: StartWorker
) -> None:
    with tapped(rabbitmq) as tap:
        tap.watch(QUEUE.encode(), fate=Fate.CUT)
        connect(tap.port)
        start_worker()

        txn = finished(begin(make_flow(NOTIFY), params={"notify": PAID}))

    record = ExceptionRecord.objects.get(transaction=txn)
    log = ExecutionLog.objects.get(transaction=txn)
    assert (record.status, record.outcome) == ("open", UNKNOWN)
    assert TaskRun.objects.get(transaction=txn).maybe_executed
    assert PASSWORD not in f"{record.error_message} {log.request} {log.response}"


def test_an_unknown_outcome_is_published_again_under_its_id(
    rabbitmq: int, connect: Connect, queue: Any, start_worker: StartWorker
) -> None:
    retry = {"strategy": "auto", "max_attempts": 3, "interval": 1}
    with tapped(rabbitmq) as tap:
        tap.watch(QUEUE.encode(), fate=Fate.CUT)
        connect(tap.port)
        start_worker()
        instance_id = begin(make_flow({**NOTIFY, "retry": retry}), params={"notify": PAID})
        wait_for(ExecutionLog.objects.filter(transaction__instance_id=instance_id, event="unknown").exists)
        tap.forgive()

        assert finished(instance_id).status == "success"

    messages = list(iter(lambda: queue.get(no_ack=True), None))
    assert len(messages) >= 2
    assert len({message.properties["message_id"] for message in messages}) == 1
