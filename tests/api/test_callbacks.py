"""POST /callbacks/:token"""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.executors.callback import RunName, run_of, token_of
from dist_task.models import TaskRun
from flows.register import register
from tests.commands.rows import wait_one
from transactions.models import Transaction

from .conftest import Api

NAME = RunName("i1", "pay", "action", -1)
CONFIG = {"url": "http://payment/pay", "callback": True, "callback_within": 60}


def address(name: RunName = NAME, *, key: str | None = None) -> str:
    return f"/api/v1/callbacks/{token_of(name, key=key)}"


def run() -> TaskRun:
    return TaskRun.objects.get(transaction__instance_id="i1")


@pytest.fixture
def awaited(db: None, closed: None) -> Transaction:
    """A transaction whose task waits for a callback. No token of a user is of any use here."""
    task = {"id": "pay", "type": "http", "config": CONFIG}
    flow = register(name="awaited", flow_type="t", definition={"tasks": [task]}, create_user="admin")
    return wait_one("i1", flow=flow, waits_for="callback")


def test_the_token_alone_is_enough_and_the_transaction_is_due(awaited: Transaction) -> None:
    answer = Api().post(address(), {"result": "success", "output": {"id": 7}})

    assert answer.data == {"instance_id": "i1", "status": "running"}
    assert run().answer == {"ok": True, "output": {"id": 7}}
    before, awaited.revision = awaited.revision, -1
    awaited.refresh_from_db()
    assert (awaited.revision, awaited.wake_at is not None) == (before + 1, True)


def test_the_second_one_is_told_that_it_is_late(awaited: Transaction) -> None:
    statuses = [Api().post(address(), {"result": result}).status for result in ("failure", "success", "heartbeat")]

    assert statuses == [200, 410, 410]
    assert run().answer == {
        "ok": False,
        "code": "CALLBACK_FAILED",
        "message": "the service called back that it failed",
    }


def test_heartbeats_are_taken_as_often_as_they_come(awaited: Transaction) -> None:
    assert run().due_at is None

    statuses = [Api().post(address(), {"result": "heartbeat"}).status for _time in range(2)]

    assert statuses == [200, 200]
    assert (run().answer, run().due_at is not None) == (None, True)


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "x.y",
        token_of(NAME, key="another key"),
        token_of(NAME)[:-1],
        token_of(NAME) + "=",
        token_of(NAME).partition(".")[0],
        token_of(NAME._replace(item=0)).partition(".")[0] + "." + token_of(NAME).partition(".")[2],
        "x" * 2_000,
        "%00",
        "扣",
    ],
)
def test_what_is_no_token_of_ours_is_not_known(awaited: Transaction, token: str) -> None:
    assert Api().post(f"/api/v1/callbacks/{token}", {"result": "success"}).status == 404
    assert run().answer is None


@pytest.mark.parametrize("other", [{"task_id": "other"}, {"op": "compensate"}, {"instance_id": "i2"}, {"item": 0}])
def test_a_run_that_is_not_there_is_not_known(awaited: Transaction, other: dict[str, Any]) -> None:
    assert Api().post(address(NAME._replace(**other)), {"result": "success"}).status == 404


def test_a_token_of_an_older_key_counts_while_that_is_a_fallback(settings: Any) -> None:
    token = token_of(NAME)

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    assert run_of(token) == NAME

    settings.SECRET_KEY_FALLBACKS = []
    assert run_of(token) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "result"),
        ({"result": "done"}, "result"),
        ({"result": None}, "result"),
        ({"result": "success", "code": "X"}, "code"),
        ({"result": "failure", "output": 1}, "output"),
        ({"result": "heartbeat", "message": "x"}, "message"),
        ({"result": "failure", "code": "a\nb"}, "code"),
        ({"result": "failure", "code": "x" * 101}, "code"),
        ({"result": "failure", "message": "x" * 2_001}, "message"),
        ({"result": "success", "more": 1}, "more"),
    ],
)
def test_a_malformed_answer_answers_nothing(awaited: Transaction, body: Any, field: str) -> None:
    answer = Api().post(address(), body)

    assert (answer.status, answer.fields) == (400, {field})
    assert run().answer is None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ("[]", 400),
        ("null", 400),
        ("{", 400),
        (r'{"result":"success","output":"\u0000"}', 400),
        (r'{"result":"success","output":"\ud800"}', 400),
        (r'{"result":"failure","message":"\u0000"}', 400),
        ('{"result":"success","output":1e400}', 400),
        ('{"result":"success","output":"' + "x" * 1_048_576 + '"}', 413),
    ],
)
def test_what_is_refused_elsewhere_is_refused_here(awaited: Transaction, raw: str, status: int) -> None:
    assert Api().post(address(), raw).status == status
    assert run().answer is None


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"callback": "yes"}, "callback"),
        ({"callback": True, "callback_within": 0}, "callback_within"),
        ({"callback_within": 60}, "callback_within"),
        ({"callback": "${params.x}"}, "callback"),
    ],
)
def test_a_flow_that_asks_for_it_wrongly_is_refused(api: Api, config: dict[str, Any], word: str) -> None:
    assert word in post_flow(api, config).message


@pytest.mark.parametrize(("url", "status"), [("", 400), ("dist.example", 400), ("https://dist.example/base", 200)])
def test_a_flow_with_callbacks_needs_the_address_of_the_service(api: Api, settings: Any, url: str, status: int) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "PUBLIC_URL": url}

    answer = post_flow(api, {"callback": True})

    assert answer.status == status
    assert status == 200 or "PUBLIC_URL" in answer.message


def post_flow(api: Api, config: dict[str, Any]) -> Any:
    task = {"id": "pay", "type": "http", "config": {"url": "http://payment/pay", **config}}
    flow = {"name": "f", "flow_type": "t", "create_user": "admin", "definition": {"tasks": [task]}}
    return api.post("/api/v1/flows", flow)
