from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from dist_task.demo import orders
from dist_task.demo.rules import METHODS, PATHS, Call
from dist_task.demo.service import ShopServer
from dist_task.demo.shop import Shop, open_shop, register_order_flow
from flows.models import Flow
from tests.commands.rows import status_of
from transactions.models import Transaction


def call(kind: str, *, attempt: int = 1) -> Call:
    return Call(key="k", attempt=attempt, params={"user_id": f"{kind}_1"})


@pytest.mark.parametrize(
    ("rule", "kind", "attempt", "expected"),
    [
        (METHODS["payment.deduct"], "good", 1, "result"),
        (METHODS["payment.deduct"], "poor", 9, "error"),
        (METHODS["payment.deduct"], "limit", 1, "error"),
        (METHODS["payment.deduct"], "limit", 2, "result"),
        (METHODS["payment.deduct"], "shaky", 2, "code"),
        (METHODS["payment.deduct"], "shaky", 3, "result"),
        (PATHS["/inventory/reserve"], "soldout", 1, "code"),
        (PATHS["/notifications"], "gone", 1, "code"),
        (PATHS["/notifications"], "mute", 5, "code"),
        (PATHS["/notifications"], "mute", 6, "message_id"),
    ],
)
def test_who_the_customer_is_decides_what_fails(rule, kind, attempt, expected):
    assert expected in rule(call(kind, attempt=attempt)).body


def test_every_kind_of_customer_comes_in_one_round():
    kinds = {orders.customer(number).split("_")[0] for number in range(1, len(orders.CUSTOMERS) + 1)}

    assert kinds == set(orders.CUSTOMERS)


@pytest.fixture
def server() -> Iterator[ShopServer]:
    shop = ShopServer(0)
    threading.Thread(target=shop.serve_forever, daemon=True).start()
    yield shop
    shop.shutdown()
    shop.server_close()


def post(server: ShopServer, path: str, *, body: Any, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{path}", json.dumps(body).encode(), headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_repeated_call_gets_the_first_answer(server):
    headers = {"Idempotency-Key": "abc", "X-Dist-Task-Attempt": "3"}
    first = post(server, "/rpc", body={"method": "payment.deduct", "params": {"amount": 1}}, **headers)

    again = post(server, "/rpc", body={"method": "payment.deduct", "params": {"amount": 2}}, **headers)

    assert first == again == (200, {"result": {"payment_id": "pay_abc", "amount": 1}})


def test_a_parcel_that_is_lost_was_handed_over_all_the_same(server):
    headers = {"Idempotency-Key": "xyz", "X-Dist-Task-Attempt": "1"}
    with pytest.raises(OSError, match="reset|aborted|refused"):
        post(server, "/shipments", body={"user_id": "lost_1"}, **headers)

    headers["X-Dist-Task-Attempt"] = "2"

    assert post(server, "/shipments", body={"user_id": "lost_1"}, **headers) == (
        200,
        {"parcel_id": "parcel_xyz"},
    )


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/nowhere", {}, 404), ("/rpc", {"method": "?"}, 404), ("/orders", [1], 400)]
)
def test_strange_requests_are_refused(server, path, body, status):
    assert post(server, path, body=body)[0] == status


def test_the_shop_keeps_its_port_and_takes_another_where_it_is_taken(tmp_path):
    with open_shop(tmp_path / "demo.json") as first:
        remembered = first.port
    with open_shop(tmp_path / "demo.json") as second:
        assert second.port == remembered
    with socket.create_server(("127.0.0.1", remembered)), open_shop(tmp_path / "demo.json") as third:
        assert third.port != remembered


@pytest.mark.django_db
def test_the_order_flow_is_registered_once_per_port():
    assert register_order_flow(port=8091).pk == register_order_flow(port=8091).pk
    assert register_order_flow(port=8092).version == 2
    assert Flow.objects.count() == 2


@pytest.mark.django_db
def test_numbers_go_on_after_a_restart_and_end_at_the_cap():
    flow = register_order_flow(port=8091)
    Shop(flow_id=flow.pk, most=5).take_orders(3)
    shop = Shop(flow_id=flow.pk, most=5)
    shop.open_books()

    assert (shop.take_orders(3), shop.take_orders(3)) == (2, 0)
    assert Transaction.objects.count() == 5


@pytest.mark.django_db
def test_who_regrets_an_order_has_it_cancelled_at_the_next_tick():
    regretful = orders.CUSTOMERS.index("regret")
    shop = Shop(flow_id=register_order_flow(port=8091).pk, most=99)
    shop.take_orders(regretful)

    shop.tick()

    assert status_of(orders.instance_id(regretful)) == "cancelled"
