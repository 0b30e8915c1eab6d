"""GET /api/v1/transactions/:id?wait=SECONDS, blocking and under ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from dist_task.longpoll import ASKED, OFFERED, LongPoll
from tests.api.asgi import Caller, bridged, close_connection
from tests.api.conftest import Api
from tests.commands.rows import make_flow, start_one, succeed_one

THREADS = 2
WIDE = 20.0


@pytest.fixture
def app(transactional_db: None) -> Iterator[LongPoll]:
    with bridged(threads=THREADS) as ordinary:
        yield LongPoll(ordinary)


def test_a_final_status_is_answered_at_once(api: Api) -> None:
    succeed_one("i1", flow=make_flow())

    began = time.monotonic()
    assert api.get("/api/v1/transactions/i1?wait=30").data["status"] == "success"
    assert time.monotonic() - began < WIDE


def test_when_the_time_is_over_the_current_status_is_answered(api: Api) -> None:
    start_one("i1", flow=make_flow())

    assert api.get("/api/v1/transactions/i1?wait=0.1").data["status"] == "pending"


@pytest.mark.parametrize("wait", ["-1", "31", "soon", "nan", "inf", "1e1", "", "0x1", "１"])
def test_a_wait_that_is_no_number_of_seconds_is_400(api: Api, wait: str) -> None:
    assert api.get(f"/api/v1/transactions/i1?wait={wait}").fields == {"wait"}


def test_a_client_cannot_ask_for_the_internal_header(api: Api) -> None:
    start_one("i1", flow=make_flow())

    answer = api.get("/api/v1/transactions/i1?wait=0.1", headers={OFFERED.decode(): "guess"})

    assert answer.data["status"] == "pending"
    assert ASKED.decode() not in answer.response


def test_more_clients_wait_than_there_are_threads_and_all_are_told(app: LongPoll) -> None:
    flow = make_flow()
    for number in range(20):
        start_one(f"i{number}", flow=flow)

    async def story() -> list[Caller]:
        callers = [Caller(f"/api/v1/transactions/i{number}", query="wait=30") for number in range(20)]
        waits = [asyncio.create_task(app(each.scope, each.receive, each.send)) for each in callers]
        while len(app.watcher._waiting) < 20:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(cancel_all)
        await asyncio.wait_for(asyncio.gather(*waits), WIDE)
        return callers

    callers = asyncio.run(story())

    assert {each.data["status"] for each in callers} == {"cancelled"}
    assert not any(name in each.headers for each in callers for name in (ASKED, OFFERED))


def cancel_all() -> None:
    for number in range(20):
        Api().post(f"/api/v1/transactions/i{number}/cancel")
    close_connection()


def test_a_wait_ends_with_its_time(app: LongPoll) -> None:
    start_one("i1", flow=make_flow())

    async def story() -> Caller:
        caller = Caller("/api/v1/transactions/i1", query="wait=0.2")
        await asyncio.wait_for(app(caller.scope, caller.receive, caller.send), WIDE)
        return caller

    assert asyncio.run(story()).data["status"] == "pending"


def test_a_wait_that_the_wrapper_does_not_recognise_holds_no_thread(app: LongPoll) -> None:
    start_one("i1", flow=make_flow())

    async def story() -> list[Caller]:
        callers = [Caller("/api/v1/transactions/i1", query="w%61it=30"), Caller("/x", query="wait=30")]
        callers.append(Caller("/api/v1/transactions/i1", query="wait=30", method="HEAD"))
        waits = [asyncio.create_task(app(each.scope, each.receive, each.send)) for each in callers]
        while len(app.watcher._waiting) < 1 or not all(wait.done() for wait in waits[1:]):
            await asyncio.sleep(0.01)
        callers[0].gone.set()
        await asyncio.wait_for(asyncio.gather(*waits), WIDE)
        return callers

    assert [each.status for each in asyncio.run(story())[1:]] == [404, 200]


def test_a_client_that_leaves_ends_its_wait(app: LongPoll) -> None:
    start_one("i1", flow=make_flow())

    async def story() -> Caller:
        caller = Caller("/api/v1/transactions/i1", query="wait=30")
        call = asyncio.create_task(app(caller.scope, caller.receive, caller.send))
        while not app.watcher._waiting:
            await asyncio.sleep(0.01)
        caller.gone.set()
        await asyncio.wait_for(call, WIDE)
        return caller

    caller = asyncio.run(story())

    assert caller.sent == []
    assert app.watcher._waiting == {}


def test_a_body_in_chunks_is_read(app: LongPoll) -> None:
    body = b'{"name": "f", "flow_type": "t", "definition": {"tasks": []}, "create_user": "me"}'

    async def story() -> Caller:
        caller = Caller("/api/v1/flows", method="POST", chunks=[body[:10], body[10:]])
        await asyncio.wait_for(app(caller.scope, caller.receive, caller.send), WIDE)
        return caller

    assert asyncio.run(story()).data["name"] == "f"


def test_a_body_in_chunks_over_the_cap_is_413(app: LongPoll) -> None:
    async def story() -> Caller:
        caller = Caller("/api/v1/flows", method="POST", chunks=[b" " * 1_048_576] * 12)
        await asyncio.wait_for(app(caller.scope, caller.receive, caller.send), WIDE)
        return caller

    assert asyncio.run(story()).status == 413
