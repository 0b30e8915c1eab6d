"""The story from start to end: real HTTP, a real cluster, real services, and workers that are killed."""

from __future__ import annotations

import os
import signal
import sys

import psycopg2
import pytest

from dist_task.embedded.client import ensure_server
from dist_task.embedded.layout import DATABASE, SUPERUSER
from tests.engine.service import Answer, Service
from tests.house.conftest import until
from tests.house.supervisor import Supervisor

from .conftest import Client, http_task

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]
AUTO = {"strategy": "auto", "max_attempts": 5, "interval": 0}


def test_an_order_runs_through(client: Client, service: Service) -> None:
    flow_id = client.flow("through", http_task("pay", service, description="扣款"), http_task("ship", service, "pay"))

    started = client.start("order_1", flow_id, pay={"amount": 100})

    assert started == {"instance_id": "order_1", "flow_id": flow_id, "status": "pending"}
    ended = client.ended("order_1")
    assert ended["status"] == "success"
    assert [(task["id"], task["name"], task["status"]) for task in ended["tasks"]] == [
        ("order_1_pay", "扣款", "success"),
        ("order_1_ship", "ship", "success"),
    ]
    assert [call.path for call in service.calls] == ["/pay", "/ship"]


def test_what_fails_for_a_moment_is_retried_by_itself(client: Client, service: Service) -> None:
    service.answer("/pay", Answer(503), Answer(500))
    flow_id = client.flow("moment", http_task("pay", service, retry=AUTO))

    client.start("order_2", flow_id)

    assert client.ended("order_2")["status"] == "success"
    assert client.exception_of("order_2")["handled"] is True
    assert len(service.calls) == 3


def test_an_operator_retries_what_failed(client: Client, service: Service) -> None:
    service.answer("/pay", Answer(400))
    client.start("order_3", client.flow("retried", http_task("pay", service)))
    assert client.ended("order_3")["status"] == "failed"
    record = client.exception_of("order_3")

    answer = client.data("POST", f"/api/v1/exceptions/{record['id']}/retry", {"delay": 0})

    assert (answer["exception_id"], answer["retry_scheduled"]) == (record["id"], True)
    assert client.ended("order_3")["status"] == "success"
    assert client.exception_of("order_3")["handled"] is True


def test_an_operator_retries_the_whole_transaction(client: Client, service: Service) -> None:
    service.answer("/pay", Answer(400))
    client.start("order_4", client.flow("whole", http_task("pay", service), http_task("ship", service, "pay")))
    assert client.ended("order_4")["status"] == "failed"

    answer = client.data("POST", "/api/v1/transactions/order_4/retry")

    assert answer == {"instance_id": "order_4", "status": "pending"}
    assert client.ended("order_4")["status"] == "success"


def test_an_operator_handles_what_was_settled_elsewhere(client: Client, service: Service) -> None:
    service.answer("/pay", Answer(400))
    client.start("order_5", client.flow("handled", http_task("pay", service)))
    client.ended("order_5")
    record = client.exception_of("order_5")

    answer = client.data("POST", f"/api/v1/exceptions/{record['id']}/handle", {"remark": "人工确认问题已解决"})

    assert (answer["exception_id"], answer["handled"]) == (record["id"], True)
    status, again = client.call("POST", f"/api/v1/exceptions/{record['id']}/handle", {})
    assert (status, again["code"]) == (400, 400)
    assert client.ended("order_5")["status"] == "failed"


def test_the_same_start_twice_runs_once(client: Client, service: Service) -> None:
    flow_id = client.flow("twice", http_task("pay", service))

    client.start("order_6", flow_id, pay={"amount": 1})
    client.ended("order_6")
    again = client.start("order_6", flow_id, pay={"amount": 1})
    status, other = client.call(
        "POST", "/api/v1/transactions", {"instance_id": "order_6", "flow_id": flow_id, "params": {"pay": {"amount": 2}}}
    )

    assert again["status"] == "success"
    assert (status, other["code"]) == (409, 409)
    assert len(service.calls) == 1


def test_a_killed_worker_loses_nothing(client: Client, service: Service, house: Supervisor) -> None:
    """Both drains are killed while their calls are under way: others take over, with the same idempotency keys."""
    gate = service.hold("/pay")
    flow_id = client.flow("killed", http_task("pay", service, retry=AUTO), http_task("ship", service, "pay"))
    for number in range(10):
        client.start(f"killed_{number}", flow_id)
    until(lambda: service.in_progress["/pay"] == 10)

    for pid in drains(house):
        os.kill(pid, signal.SIGKILL)
    gate.set()

    assert {client.ended(f"killed_{number}")["status"] for number in range(10)} == {"success"}
    keys = {call.headers["idempotency-key"] for call in service.calls_of("/pay")}
    assert len(keys) == 10
    assert len(service.calls_of("/ship")) == 10


def test_a_task_that_must_not_repeat_is_left_to_a_person_when_its_worker_dies(
    client: Client, service: Service, house: Supervisor
) -> None:
    gate = service.hold("/pay")
    client.start("order_7", client.flow("once", http_task("pay", service)))
    until(lambda: service.in_progress["/pay"] == 1)

    for pid in drains(house):
        os.kill(pid, signal.SIGKILL)
    until(lambda: client.ended("order_7")["status"] == "failed")
    gate.set()

    record = client.exception_of("order_7")
    assert (record["handled"], record["outcome"]) == (False, "unknown")
    assert service.began_count["/pay"] == 1


def test_the_figures_add_up(client: Client, service: Service) -> None:
    flow_id = client.flow("figures", http_task("pay", service))
    for number in range(3):
        client.start(f"figures_{number}", flow_id)
        client.ended(f"figures_{number}")

    stats = client.data("GET", f"/api/v1/stats/flows/{flow_id}")

    assert (stats["flow_id"], stats["total_runs"], stats["success_count"], stats["failed_count"]) == (flow_id, 3, 3, 0)
    assert client.data("GET", "/api/v1/stats/overview")["total_transactions"] >= 3


def drains(house: Supervisor) -> list[int]:
    """The process ids of the workers that live now."""
    server = ensure_server(house.folder)
    connection = psycopg2.connect(host=server.host, password=server.password, user=SUPERUSER, dbname=DATABASE)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pid FROM dist_task_worker WHERE lease_until > clock_timestamp()")
            return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()
