"""The express lane: the same answers as the ordinary way, byte for byte, and nothing lost when connections break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError, connection, connections

from dist_task import database
from dist_task.engine.start import Started, StartRequest, start_gathered
from dist_task.engine.store import leases
from dist_task.gather import Gather
from dist_task.intake import Intake
from dist_task.models import StatDelta
from flows.models import Flow
from tests.api.asgi import Caller, bridged, end
from tests.api.conftest import token_of
from transactions.express import COLLECTION, Express
from transactions.models import Transaction

WIDE = 20.0
THREADS = 2


class Both:
    """The ordinary way, the express lane around it, and how many requests took the ordinary way."""

    def __init__(self, ordinary: Intake) -> None:
        self.ordinary = ordinary
        self.express = Express(self.counted)
        self.ordinary_calls = 0

    async def counted(self, scope: Any, receive: Any, send: Any) -> None:
        self.ordinary_calls += 1
        await self.ordinary(scope, receive, send)


@pytest.fixture
def both(transactional_db: None) -> Iterator[Both]:
    with bridged(threads=THREADS) as ordinary:
        both = Both(ordinary)
        yield both
        end(both.express.starts.thread, threads=1)
        end(both.express.shows.thread, threads=1)


def ask_all(app: Any, callers: list[Caller]) -> list[Caller]:
    async def story() -> None:
        calls = [app(each.scope, each.receive, each.send) for each in callers]
        await asyncio.wait_for(asyncio.gather(*calls), WIDE)

    asyncio.run(story())
    return callers


def ask(app: Any, caller: Caller) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    ask_all(app, [caller])
    head, *rest = caller.sent
    return head["status"], list(head["headers"]), b"".join(part["body"] for part in rest)


def posting(body: Any, *, path: str = COLLECTION, query: str = "", **headers: str) -> Caller:
    """`headers`: by their names with underscores; what is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    caller = Caller(path, query=query, method="POST", chunks=[content])
    given = {"host": "localhost", "content-type": "application/json", "content-length": str(len(content))}
    return with_headers(caller, **{**given, **dashed(headers)})


def getting(path: str, *, query: str = "", method: str = "GET", **headers: str) -> Caller:
    return with_headers(Caller(path, query=query, method=method), **{"host": "localhost", **dashed(headers)})


def dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def with_headers(caller: Caller, **headers: str) -> Caller:
    caller.scope["headers"] = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return caller


GOOD: list[tuple[Any, dict[str, str]]] = [
    ({"instance_id": "i1", "flow_id": "FLOW"}, {}),
    ({"instance_id": "订单-1", "flow_id": "FLOW", "params": {"名": ["值", 1, 2.5, None, True, {"a": []}]}}, {}),
    ({"params": {}, "flow_id": "FLOW", "instance_id": "i" * 64}, {"content_type": "application/json; charset=utf-8"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"accept_language": "zh-hans,en;q=0.5"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"accept": "text/html", "user_agent": "x", "x_request_id": "7"}),
    (b' {"instance_id": "i1", "instance_id": "i2", "flow_id": "FLOW", "params": {"n": 9223372036854775807}} ', {}),
]
OTHERS: list[tuple[Any, dict[str, str]]] = [
    ({"instance_id": "i1", "flow_id": "nothing"}, {}),
    ({"instance_id": "i1"}, {}),
    ({"flow_id": "FLOW"}, {}),
    ({"instance_id": "a b", "flow_id": "FLOW"}, {}),
    ({"instance_id": "batch", "flow_id": "FLOW"}, {}),
    ({"instance_id": "i" * 65, "flow_id": "FLOW"}, {}),
    ({"instance_id": 7, "flow_id": "FLOW"}, {}),
    ({"instance_id": "i1", "flow_id": 7}, {}),
    ({"instance_id": "i1", "flow_id": " "}, {}),
    ({"instance_id": "i1", "flow_id": "f" * 101}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW", "params": None}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW", "params": []}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW", "params": {"a": "\0"}}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW", "params": {"a": 2**64}}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW", "colour": "red"}, {"accept_language": "zh-hans"}),
    (b'{"instance_id": "i1", "flow_id": "FLOW", "params": {"n": NaN}}', {}),
    (b'{"instance_id": "i1", "flow_id": "FLOW", "params": {"n": 1e999}}', {}),
    (b'{"instance_id": "i1", "flow_id": "FLOW", "params": {"s": "\\ud800"}}', {}),
    (b'{"instance_id": "i1", "flow_id": "FLOW", "params": ' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}", {}),
    (b"[" * 20_000, {}),
    (b"\xff{}", {}),
    (b"{", {}),
    (b"null", {}),
    (b"[]", {}),
    (b'"text"', {}),
    (b"", {}),
    (b"{}", {"content_type": "text/plain"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"content_type": "application/json; charset=latin-1"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"content_type": "APPLICATION/JSON"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"content_encoding": "gzip"}),
    ({"instance_id": "i1", "flow_id": "FLOW", "params": {"a": "x" * 70_000}}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW", "params": {"a": "x" * 1_100_000}}, {}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"host": "evil.example"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"cookie": "sessionid=nobody"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"cookie": "django_language=zh-hans"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"authorization": "Bearer " + "a" * 64}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"authorization": "Bearer"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"authorization": "Bearer a b"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"authorization": "Basic YTpi"}),
    ({"instance_id": "i1", "flow_id": "FLOW"}, {"authorization": "Bearer \xff"}),
]


def with_flow(body: Any, *, flow: Flow) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return content.replace(b"FLOW", str(flow.pk).encode())


def test_a_start_is_answered_as_on_the_ordinary_way(both: Both, flow: Flow) -> None:
    for body, headers in [*GOOD, *OTHERS]:
        content = with_flow(body, flow=flow)
        expected = ask(both.ordinary, posting(content, **headers))
        rows = stored()
        forget_all()
        learned = ask(both.express, posting(content, **headers))
        forget_all()
        both.ordinary_calls = 0

        assert ask(both.express, posting(content, **headers)) == expected == learned, (body, headers)
        assert stored() == rows
        assert (body, headers) in OTHERS or (expected[0] == 200 and both.ordinary_calls == 0), (body, headers)
        forget_all()


def stored() -> list[Any]:
    return list(Transaction.objects.values("instance_id", "flow_id", "params", "status", "created_by", "revision"))


def forget_all() -> None:
    Transaction.objects.all().delete()
    StatDelta.objects.all().delete()


def test_other_addresses_and_methods_go_the_ordinary_way(both: Both, flow: Flow) -> None:
    body = {"instance_id": "i1", "flow_id": flow.pk}
    ask(both.express, posting(body))
    callers = [
        posting(body, path=COLLECTION + "/"),
        posting(body, query="a=b"),
        posting({"transactions": [body]}, path=COLLECTION + "/batch"),
        posting({"remark": "why"}, path=COLLECTION + "/i1/cancel"),
        getting(COLLECTION),
        getting(COLLECTION + "/batch"),
        getting(COLLECTION + "/i1/logs"),
        getting(COLLECTION + "/i1", query="wait=0"),
        getting(COLLECTION + "/i1", method="HEAD"),
        getting("/api/v1/flows"),
    ]
    both.ordinary_calls = 0

    ask_all(both.express, callers)

    assert both.ordinary_calls == len(callers)
    assert [each.status for each in callers] == [200, 400, 200, 200, 200, 405, 200, 200, 200, 200]


def test_a_transaction_is_shown_as_on_the_ordinary_way(both: Both, flow: Flow) -> None:
    ask(both.ordinary, posting({"instance_id": "订单-1", "flow_id": flow.pk, "params": {"a": [1, None]}}))
    path = COLLECTION + "/订单-1"
    expected = ask(both.ordinary, getting(path))

    learned = ask(both.express, getting(path))
    both.ordinary_calls = 0

    assert ask(both.express, getting(path)) == expected == learned
    assert both.ordinary_calls == 0
    for other in (COLLECTION + "/none", COLLECTION + "/a b", COLLECTION + "/"):
        assert ask(both.express, getting(other)) == ask(both.ordinary, getting(other))


def test_a_start_that_comes_again_gets_the_same_transaction_or_a_conflict(both: Both, flow: Flow) -> None:
    body = {"instance_id": "i1", "flow_id": flow.pk, "params": {"n": 1}}
    first = ask(both.express, posting(body))

    again, other = ask(both.express, posting(body)), ask(both.express, posting({**body, "params": {"n": 2}}))

    assert again == first
    assert other[0] == 409
    assert Transaction.objects.count() == StatDelta.objects.count() == 1


def test_starts_at_the_same_time_are_each_answered_for_their_own_caller(both: Both, flow: Flow, closed: None) -> None:
    tokens = {role: f"Bearer {token_of(role)}" for role in ("viewer", "submitter", "operator")}
    ask(both.express, posting({"instance_id": "first", "flow_id": flow.pk}, authorization=tokens["operator"]))
    callers = []
    for number in range(30):
        role = ("viewer", "submitter", "operator", "")[number % 4]
        headers = {"authorization": tokens[role]} if role else {}
        callers.append(posting({"instance_id": f"{role}-{number % 20}", "flow_id": flow.pk}, **headers))

    ask_all(both.express, callers)

    assert [each.status for each in callers] == [(403, 200, 200, 401)[number % 4] for number in range(30)]
    rows = Transaction.objects.exclude(instance_id="first").values_list("instance_id", "created_by")
    assert {f"{name.partition('-')[0]}-user" == user for name, user in rows} == {True}
    assert len(rows) == 10


def test_a_token_that_is_taken_back_is_refused_at_once(both: Both, flow: Flow, closed: None) -> None:
    token = token_of("submitter")
    headers = {"authorization": f"Bearer {token}"}
    for number in range(2):
        assert ask(both.express, posting({"instance_id": f"i{number}", "flow_id": flow.pk}, **headers))[0] == 200

    from knox.models import AuthToken

    AuthToken.objects.all().delete()

    assert ask(both.express, posting({"instance_id": "late", "flow_id": flow.pk}, **headers))[0] == 401
    assert not Transaction.objects.filter(instance_id="late").exists()


# -- connections that break ----------------------------------------------------------------------------------


def test_a_start_outlives_the_end_of_its_idle_connection(both: Both, flow: Flow) -> None:
    for number in range(2):
        ask(both.express, posting({"instance_id": f"i{number}", "flow_id": flow.pk}))
    cut_the_others()
    both.ordinary_calls = 0

    assert ask(both.express, posting({"instance_id": "after", "flow_id": flow.pk}))[0] == 200
    assert both.ordinary_calls == 0
    assert Transaction.objects.count() == StatDelta.objects.count() == 3


def cut_the_others() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def test_a_start_whose_answer_is_lost_after_the_commit_is_started_once(transactional_db: None, flow: Flow) -> None:
    calls = []

    def start_and_break(asked: list[tuple[StartRequest, str]]) -> list[Started | None]:
        results = start_gathered(asked)
        calls.append(results)
        if len(calls) == 1:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return results

    gather = Gather(start_and_break, name="breaking")
    result = asyncio.run(gather.result_of((StartRequest("i1", flow.pk, {}), "me")))
    end(gather.thread, threads=1)

    assert [each[0] is not None for each in calls] == [True, False]
    assert result is None  # the ordinary way finds it there and says so
    assert Transaction.objects.count() == StatDelta.objects.count() == 1


def test_work_that_fails_leaves_every_item_to_the_ordinary_way(transactional_db: None) -> None:
    calls = []

    def fail(items: list[int]) -> list[int]:
        calls.append(items)
        raise ValueError("no")

    gather = Gather(fail, name="failing")

    async def story() -> list[int | None]:
        return await asyncio.gather(*(gather.result_of(number) for number in range(5)))

    assert asyncio.run(story()) == [None] * 5
    assert sum(len(each) for each in calls) == 5


def test_a_lock_on_one_id_holds_up_the_others_for_a_moment_only(both: Both, flow: Flow) -> None:
    ask(both.express, posting({"instance_id": "first", "flow_id": flow.pk}))
    holder = database.connect()
    with holder.cursor() as cursor:
        statement = "INSERT INTO transactions_transaction (instance_id, flow_id) VALUES ('stuck', %s)"
        cursor.execute(statement, [flow.pk])
    stuck = posting({"instance_id": "stuck", "flow_id": flow.pk})
    others = [posting({"instance_id": f"i{number}", "flow_id": flow.pk}) for number in range(10)]

    async def story() -> None:
        waits = [asyncio.create_task(both.express(each.scope, each.receive, each.send)) for each in [stuck, *others]]
        await asyncio.wait_for(asyncio.gather(*waits[1:]), WIDE)
        assert not waits[0].done()
        await asyncio.to_thread(holder.rollback)
        await asyncio.wait_for(waits[0], WIDE)

    asyncio.run(story())
    holder.close()
    assert {each.status for each in [stuck, *others]} == {200}
    assert Transaction.objects.count() == 12


# -- waking workers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("idle", [True, False])
def test_an_idle_worker_is_woken_after_the_commit(transactional_db: None, flow: Flow, idle: bool) -> None:
    listener = database.connect(autocommit=True)
    with connections["default"].cursor() as cursor:
        worker = leases.register(cursor, cluster="c", host="h", pid=1, lease_seconds=60)
        leases.set_idle(cursor, worker_id=worker, idle=idle)
    with listener.cursor() as cursor:
        cursor.execute(f"LISTEN {leases.channel(worker)}")

    start_gathered([(StartRequest("i1", flow.pk, {}), "me")])

    assert bool(heard(listener)) is idle
    listener.close()


@pytest.mark.parametrize(("starts", "woken"), [(1, 1), (16, 1), (17, 2), (100, 3)])
def test_no_more_workers_are_woken_than_are_of_use(transactional_db: None, flow: Flow, starts: int, woken: int) -> None:
    listener = database.connect(autocommit=True)
    with connections["default"].cursor() as cursor, listener.cursor() as listening:
        for _ in range(3):
            worker = leases.register(cursor, cluster="c", host="h", pid=1, lease_seconds=60)
            listening.execute(f"LISTEN {leases.channel(worker)}")

    start_gathered([(StartRequest(f"i{n}", flow.pk, {}), "me") for n in range(starts)])

    assert len(heard(listener)) == woken
    listener.close()


def heard(listener: psycopg2.extensions.connection) -> list[Any]:
    with listener.cursor() as cursor:
        cursor.execute("SELECT 1")  # what was notified before it has arrived with its answer
    listener.poll()
    return listener.notifies


def test_a_statement_that_somebody_discarded_is_prepared_again(transactional_db: None, flow: Flow) -> None:
    start_gathered([(StartRequest("i1", flow.pk, {}), "me")])
    with connections["default"].cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")

    with pytest.raises(OperationalError):
        start_gathered([(StartRequest("i2", flow.pk, {}), "me")])

    assert start_gathered([(StartRequest("i2", flow.pk, {}), "me")])[0] is not None
