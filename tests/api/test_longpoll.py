"""GET /api/v1/transactions/:id?wait=SECONDS, blocking and under ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg2
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from knox.models import AuthToken

from dist_task import longpoll
from dist_task.bridge import Bridge
from dist_task.engine.start import StartRequest, start
from dist_task.intake import Intake
from dist_task.longpoll import FINISHED, LongPoll, finished_parameters, pause_after
from tests.api.asgi import Caller, bridged, close_connection, end
from tests.api.conftest import Api, as_role, token_of
from tests.commands.rows import make_flow, start_one, succeed_one
from transactions.express import Express

THREADS = 2
WIDE = 20.0
PATH = "/api/v1/transactions/i1"


@pytest.fixture
def app(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LongPoll]:
    monkeypatch.setattr(longpoll, "KEPT_SECONDS", 0.05)
    with bridged(threads=THREADS) as ordinary:
        app = LongPoll(ordinary)
        yield app
        if (thread := app.watcher._thread) is not None:
            thread.join(WIDE)
            assert not thread.is_alive()


def told(app: Any, caller: Caller) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body, to the byte."""
    asyncio.run(asyncio.wait_for(app(caller.scope, caller.receive, caller.send), WIDE))
    return caller.status, caller.headers, b"".join(part["body"] for part in caller.sent[1:])


def told_after(app: LongPoll, caller: Caller, *, change: Callable[[], object]) -> Caller:
    """The change comes, in a thread of its own, once the caller waits."""

    async def story() -> None:
        call = asyncio.create_task(awaited(app(caller.scope, caller.receive, caller.send)))
        while not app.watcher._waiting:
            assert not call.done()
            await asyncio.sleep(0.01)
        await asyncio.to_thread(closing_connection, change)
        await asyncio.wait_for(call, WIDE)

    asyncio.run(story())
    return caller


async def awaited(answer: Awaitable[None]) -> None:
    await answer


def closing_connection(change: Callable[[], object]) -> None:
    change()
    close_connection()


def cancel(instance_id: str = "i1") -> None:
    assert Api().post(f"/api/v1/transactions/{instance_id}/cancel", {"remark": "why"}).status == 200


def watching_pids() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query LIKE '%%string_to_array%%'"
        )
        return {pid for (pid,) in cursor.fetchall()}


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


def cancel_all() -> None:
    for number in range(20):
        Api().post(f"/api/v1/transactions/i{number}/cancel", {"remark": "why"})
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


# -- what is answered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", "/api/v1/transactions/none", "/api/v1/transactions/batch"])
def test_what_needs_no_wait_is_answered_as_without_it(app: LongPoll, path: str) -> None:
    succeed_one("i1", flow=make_flow())

    expected = told(app.app, Caller(path))

    assert told(app, Caller(path, query="wait=30")) == expected
    assert expected[0] == {PATH: 200, f"{PATH}/": 200}.get(path, 405 if "batch" in path else 404)


@pytest.mark.parametrize(
    "query", ["wait=", "wait=31", "wait=-1", "wait=1e1", "wait=1&wait=2", "wait=1&x=2", "x=2", "wait=1;", "WAIT=1"]
)
def test_any_other_query_is_the_views_to_refuse(app: LongPoll, query: str) -> None:
    start_one("i1", flow=make_flow())

    expected = told(app.app, Caller(PATH, query=query))

    assert told(app, Caller(PATH, query=query)) == expected
    assert expected[0] == 400


def test_what_the_parameters_say_is_not_taken_for_the_status(app: LongPoll) -> None:
    start(StartRequest("i1", make_flow().pk, {"status": "success", "data": {"status": "failed"}}), actor="me")

    assert told_after(app, Caller(PATH, query="wait=30"), change=cancel).data["status"] == "cancelled"


def test_plain_waits_take_the_express_lane_both_times(app: LongPoll) -> None:
    start_one("i1", flow=make_flow())
    ordinary, calls = app.app, []

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await ordinary(scope, receive, send)

    express = Express(counted)
    app.app = express
    told(app, Caller(PATH))  # the lane learns the headers
    caller = told_after(app, Caller(PATH, query="wait=30"), change=cancel)
    end(express.shows.thread, threads=1)

    assert calls == [PATH]
    assert caller.data["status"] == "cancelled"


def test_a_redirect_keeps_the_query(app: LongPoll, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    bridge = Bridge(WSGIHandler(), threads=1)
    app.app = Intake(bridge)

    status, headers, _ = told(app, Caller(PATH, query="wait=30"))
    end(bridge.pool, threads=1)

    assert (status, headers[b"location"]) == (301, b"https://localhost/api/v1/transactions/i1?wait=30")


def test_who_may_not_read_is_refused_before_the_wait(app: LongPoll, closed: None) -> None:
    start_one("i1", flow=make_flow())

    assert told(app, Caller(PATH, query="wait=30"))[0] == 401


def test_a_token_that_is_taken_back_during_a_wait_is_401_at_its_end(app: LongPoll, closed: None) -> None:
    start_one("i1", flow=make_flow())
    caller = Caller(PATH, query="wait=30")
    caller.scope["headers"].append((b"authorization", f"Bearer {token_of('viewer')}".encode()))
    operator = as_role("operator")

    def take_back() -> None:
        AuthToken.objects.filter(user__username="viewer-user").delete()
        assert operator.post(f"{PATH}/cancel", {"remark": "why"}).status == 200

    assert told_after(app, caller, change=take_back).status == 401


# -- the watcher ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "took", "pause"),
    [
        (0, 0, 0.001),
        (0.01, 0, 0.001),
        (0.1, 0, 0.01),
        (0.1, 0.02, 0.02),
        (0.5, 0, 0.05),
        (30, 0, 0.05),
        (0, 5, 0.05),
    ],
)
def test_the_pause_between_two_looks_grows_with_the_newest_wait(age: float, took: float, pause: float) -> None:
    assert pause_after(age, took_seconds=took) == pytest.approx(pause)


def test_a_thousand_waits_are_one_query_of_the_index(transactional_db: None) -> None:
    ids = [f"订单-{number}" for number in range(1_000)]
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        cursor.execute("EXPLAIN " + FINISHED, finished_parameters(ids))
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("RESET enable_seqscan")

    assert "transaction_instance" in plan
    assert plan.count("Scan") <= 2  # of the index, and of the rows that it names


def test_many_waits_for_the_same_and_for_others_are_each_told(app: LongPoll) -> None:
    flow = make_flow()
    start_one("i1", flow=flow)
    start_one("i2", flow=flow)

    async def story() -> list[str]:
        callers = [Caller(f"/api/v1/transactions/i{1 + number % 2}", query="wait=30") for number in range(10)]
        calls = [asyncio.create_task(app(each.scope, each.receive, each.send)) for each in callers]
        while len(app.watcher._waiting) < 10:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(closing_connection, cancel)
        await asyncio.wait_for(asyncio.gather(*calls[::2]), WIDE)
        assert not any(call.done() for call in calls[1::2])
        for caller in callers[1::2]:
            caller.gone.set()
        await asyncio.wait_for(asyncio.gather(*calls), WIDE)
        return [each.data["status"] for each in callers[::2]]

    assert asyncio.run(story()) == ["cancelled"] * 5


def test_a_connection_is_kept_for_the_next_wait(app: LongPoll, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(longpoll, "KEPT_SECONDS", 3.0)
    start_one("i1", flow=make_flow())

    told(app, Caller(PATH, query="wait=0.2"))
    first = watching_pids()
    told(app, Caller(PATH, query="wait=0.2"))

    assert len(first) == 1
    assert watching_pids() == first


def test_a_connection_is_given_back_when_nobody_waits_and_had_again(app: LongPoll) -> None:
    start_one("i1", flow=make_flow())
    for _ in range(2):
        told(app, Caller(PATH, query="wait=0.2"))
        if (thread := app.watcher._thread) is not None:
            thread.join(WIDE)
        assert app.watcher._thread is None

    assert told_after(app, Caller(PATH, query="wait=30"), change=cancel).data["status"] == "cancelled"


def test_a_wait_outlives_the_end_of_its_connection(app: LongPoll) -> None:
    start_one("i1", flow=make_flow())

    def cut_and_cancel() -> None:
        cut_the_watcher()
        cancel()

    assert told_after(app, Caller(PATH, query="wait=30"), change=cut_and_cancel).data["status"] == "cancelled"


def cut_the_watcher() -> None:
    deadline = time.monotonic() + WIDE
    while not (pids := watching_pids()):
        assert time.monotonic() < deadline
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM unnest(%s) AS pid", [list(pids)])


def test_waits_end_by_themselves_while_the_watcher_has_no_database(
    app: LongPoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_one("i1", flow=make_flow())
    monkeypatch.setattr(longpoll.database, "connect", refused)

    assert told(app, Caller(PATH, query="wait=0.2"))[0] == 200


def refused(**_: Any) -> None:
    raise psycopg2.OperationalError("connection refused")


# -- bodies --------------------------------------------------------------------------------------------------


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
