"""Starts and reads are repeated when a connection is lost; what is not idempotent is not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dist_task.client import ApiError, Client, Start, Started, UnexpectedAnswer, Unreachable
from tests.engine.service import Answer, Service
from tests.house.supervisor import free_port

from .conftest import STARTED, enveloped

START = "/api/v1/transactions"
DROP = Answer(drop=True)


def start(client: Client) -> Started:
    return client.start("order_1", flow_id="flow_1")


@pytest.mark.parametrize(
    "failure",
    [DROP, enveloped(None, status=503, message="away"), Answer(502, raw=b"<html>Bad Gateway</html>")],
    ids=["lost", "503", "proxy"],
)
def test_a_start_is_repeated(impatient: Client, service: Service, failure: Answer) -> None:
    service.answer(START, failure, failure, enveloped(STARTED))

    assert start(impatient) == Started("order_1", "flow_1", "pending")
    assert len({str(call.body) for call in service.calls}) == 1
    assert len(service.calls) == 3


def test_a_batch_is_repeated(impatient: Client, service: Service) -> None:
    entry = {"code": 0, "message": "success", "data": STARTED}
    service.answer(f"{START}/batch", DROP, enveloped({"results": [entry]}))

    assert impatient.start_many([Start("order_1", "flow_1")]) == [Started("order_1", "flow_1", "pending")]


@pytest.mark.parametrize(
    "verb",
    [lambda client: client.retry("order_1"), lambda client: client.handle(1), lambda client: client.retry_exception(1)],
    ids=["retry", "handle", "retry_exception"],
)
def test_what_is_not_idempotent_is_sent_once(
    impatient: Client, service: Service, verb: Callable[[Client], Any]
) -> None:
    for path in (f"{START}/order_1/retry", "/api/v1/exceptions/1/handle", "/api/v1/exceptions/1/retry"):
        service.answer(path, DROP)

    with pytest.raises(Unreachable) as caught:
        verb(impatient)

    assert caught.value.was_sent
    assert len(service.calls) == 1


def test_a_refusal_is_not_repeated(impatient: Client, service: Service) -> None:
    service.answer(START, enveloped({"errors": [{"field": "params", "message": "no"}]}, status=400, message="no"))

    with pytest.raises(ApiError) as caught:
        start(impatient)

    assert (caught.value.code, caught.value.message, len(service.calls)) == (400, "no", 1)


def test_patience_ends(service: Service) -> None:
    service.answer(START, *[DROP] * 20)

    with Client(service.url(""), patience_seconds=0.3) as client, pytest.raises(Unreachable):
        start(client)

    assert 1 < len(service.calls) < 6


def test_nobody_listens() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", patience_seconds=0) as client, pytest.raises(Unreachable) as caught:
        start(client)

    assert not caught.value.was_sent


def test_an_answer_that_does_not_come_ends(service: Service) -> None:
    service.hold(START)

    with (
        Client(service.url(""), timeout_seconds=0.2, patience_seconds=0) as client,
        pytest.raises(Unreachable) as caught,
    ):
        start(client)

    assert caught.value.was_sent


def test_a_redirect_says_where_to(impatient: Client, service: Service) -> None:
    service.answer(START, Answer(301, raw=b"", headers={"Location": "https://tasks.example.com/"}))

    with pytest.raises(UnexpectedAnswer, match=r"301 to https://tasks\.example\.com/") as caught:
        start(impatient)

    assert caught.value.http_status == 301


def test_an_answer_of_something_else_is_no_answer(impatient: Client, service: Service) -> None:
    service.answer(START, enveloped({"id": 1}))

    with pytest.raises(UnexpectedAnswer, match="no Started"):
        start(impatient)


def test_pages_of_exceptions_are_walked_through(impatient: Client, service: Service) -> None:
    record = dict.fromkeys(("task_id", "task_name", "error_message", "status", "instance_id", "flow_id", "task"), "")
    record |= dict.fromkeys(("op", "error_code", "outcome", "handled_by", "resolution", "remark", "assignee"), "")
    record |= {"handled": False, "item": -1, "occurrences": 1, "retry_next_at": None, "handled_at": None}
    record |= {"opened_at": "2024-01-31T10:00:00Z", "last_at": "2024-01-31T10:00:00.125Z"}
    pages = [[{**record, "id": number} for number in range(top, max(top - 200, 0), -1)] for top in (201, 1)]
    first, second = "/api/v1/exceptions?handled=false&page_size=200", "&after=2"
    service.answer(first, enveloped({"list": pages[0]}))
    service.answer(first + second, enveloped({"list": pages[1]}))

    found = list(impatient.exceptions(handled=False))

    assert [each.id for each in found] == list(range(201, 0, -1))


class Once:
    """Answers each connection once, in HTTP/1.1, and closes it without having said so: as an idle time-out looks."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        content = b'{"code":0,"message":"success","data":{"instance_id":"order_1","status":"pending"}}'
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                data = b""
                while not data.endswith(b"}"):
                    data += peer.recv(65_536)
                self.requests.append(data)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))
            self.closed.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_a_kept_connection_that_the_service_has_closed_loses_nothing() -> None:
    """A retry is not repeated, so it must not be sent on a connection that is known to be closed."""
    service = Once()
    with Client(f"http://127.0.0.1:{service.port}") as client:
        for _ in range(3):
            service.closed.clear()
            client.retry("order_1")
            assert service.closed.wait(10)

    service.close()
    assert len(service.requests) == 3


def test_threads_share_a_client(impatient: Client, service: Service) -> None:
    service.answer(START, *[enveloped(STARTED)] * 20)

    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: start(impatient), range(20)))

    assert started == [Started("order_1", "flow_1", "pending")] * 20


@pytest.mark.parametrize("url", ["tasks.example.com", "ftp://tasks", "http://", "http://tasks/?x=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Client(url)
