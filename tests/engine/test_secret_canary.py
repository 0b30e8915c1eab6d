"""Invariant 25: a secret that a flow uses, and that the called service echoes in every way, shows up nowhere."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django_q.models import OrmQ
from django_q.tasks import async_task
from psycopg2.sql import SQL, Identifier

from dist_task.conf import conf
from dist_task.console import site
from dist_task.engine.queue import DRAIN
from exceptions_app.models import ExceptionRecord
from flows.models import Connection, Flow, TaskDefinition
from flows.secret_rows import store
from transactions.models import Transaction

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .worker import WorkerThread

CANARY = 'canary/4711 "quoted" & <b>+é'
ENCODED = (
    CANARY,
    json.dumps(CANARY)[1:-1],
    quote(CANARY, safe=""),
    b64encode(f"shop:{CANARY}".encode()).decode(),
    CANARY.encode().hex(),
)
TRACES = (
    "canary/4711",
    "canary%2F4711",
    "Y2FuYXJ5LzQ3MT",
    "NhbmFyeS80NzEx",
    "jYW5hcnkvNDcxM",
    CANARY.encode().hex()[:24],
)


@pytest.fixture(autouse=True)
def _leaky(settings: Any) -> None:
    """Before the worker starts."""
    settings.DIST_TASK = {**settings.DIST_TASK, "EXECUTORS": (*conf.EXECUTORS, "tests.engine.leaky.LeakyExecutor")}


@pytest.fixture
def echoes(service: Service) -> Service:
    """Says all that it was told, and more, in body, headers and errors, also far behind where a log is cut."""
    body = {
        "message": f"denied for {CANARY}",
        "code": f"E-{quote(CANARY, safe='')}",
        CANARY: list(ENCODED),
        "far": "x" * 8_180 + CANARY * 3,
        "text": json.dumps({"again": CANARY}),
    }
    headers = {"Location": f"/{quote(CANARY, safe='')}", "ETag": f'"{b64encode(CANARY.encode()).decode()}"'}
    service.answer("/v1/good", Answer(200, body, headers))
    service.answer("/v1/bad", Answer(403, body, headers))
    service.answer("/v1/late", Answer(503, body, headers))
    service.answer("/v1/garbage", Answer(500, raw=f"<h1>{CANARY}</h1>".encode(), headers={"Content-Type": "text/html"}))
    service.answer("/v1/cut", Answer(drop=True))
    service.answer("/rpc", Answer(200, {"error": {"code": CANARY, "message": f"no: {CANARY}"}}))
    return service


@pytest.fixture
def used(worker: WorkerThread, echoes: Service) -> str:
    """The instance id of a transaction that used the secret in every way that there is."""
    store("CANARY", value=CANARY, actor="test")
    auth = {"type": "basic", "username": "shop", "secret": "CANARY"}
    config = {"base_url": f"http://{echoes.netloc}/v1", "auth": auth, "headers": {"X-Plain": "1"}}
    Connection.objects.create(name="payment", kind="http", config=config)
    TaskDefinition.objects.create(
        name="with_default",
        type="http",
        config={"url": echoes.url("/default")},
        inputs=[{"name": "key", "type": "string", "default": "k ${secrets.CANARY}"}],
    )
    tasks = [
        {"id": path, "type": "http", "config": {"connection": "payment", "path": f"/{path}"}, "optional": True}
        for path in ("good", "bad", "late", "garbage", "cut")
    ]
    plain = {
        "url": echoes.url("/plain/${secrets.CANARY}"),
        "query": {"k": "${secrets.CANARY}"},
        "method": "GET",
    }
    rpc = {"service": echoes.netloc, "method": "pay", "headers": {"X-Key": "${secrets.CANARY}"}}
    careless = [
        {"id": do, "type": "leaky", "config": {"do": do, "password": "${secrets.CANARY}"}}
        for do in ("succeed", "fail", "crash")
    ]
    flow = make_flow(
        *tasks,
        *careless,
        {"id": "plain", "type": "http", "config": plain},
        {"id": "default", "task_name": "with_default"},
        {"id": "rpc", "type": "rpc", "config": rpc},
        name="canary_flow",
    )
    instance_id = begin(flow, params={"default": {}})
    finished(instance_id)
    return instance_id


def rows_of_every_table() -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(SQL("SELECT t::text FROM {} t").format(Identifier(table)))
            for (row,) in cursor.fetchall():
                yield table, row


def leaks(text: str) -> list[str]:
    return [trace for trace in TRACES if trace in text]


def api_answers(instance_id: str, *, flow: Flow) -> Iterator[tuple[str, str]]:
    client = Client()
    record = ExceptionRecord.objects.latest("pk")
    for path in (
        "transactions",
        f"transactions/{instance_id}",
        f"transactions/{instance_id}/logs",
        f"transactions/{instance_id}/tasks",
        "flows",
        f"flows/{flow.pk}",
        "exceptions",
        f"exceptions/{record.pk}",
        "stats",
    ):
        for end in ("", "/"):
            answer = client.get(f"/api/v1/{path}{end}")
            yield path, answer.content.decode()


def admin_pages(client: Client) -> Iterator[tuple[str, str]]:
    """Every list, and every page of every row."""
    yield "index", client.get(reverse("admin:index")).content.decode()
    for model in site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield name, client.get(reverse(f"{name}_changelist") + "?status=all&live=all&shown=all").content.decode()
        for row in model._default_manager.all()[:50]:
            for page in ("change", "history"):
                yield name, client.get(reverse(f"{name}_{page}", args=(row.pk,))).content.decode()


def test_the_service_was_really_told(used: str, echoes: Service) -> None:
    told = [call.headers.get("authorization") for call in echoes.calls_of("/v1/good")]

    assert told == ["Basic " + b64encode(f"shop:{CANARY}".encode()).decode()]
    assert echoes.calls_of("/default")[0].body == {"key": f"k {CANARY}"}
    assert echoes.calls_of("/rpc")[0].headers["x-key"].encode("latin-1").decode() == CANARY
    assert [call.path for call in echoes.calls if call.path.startswith("/plain/")] == [
        f"/plain/{quote(CANARY, safe='')}?k=canary%2F4711+%22quoted%22+%26+%3Cb%3E%2B%C3%A9"
    ]


def test_no_row_of_any_table_has_it(used: str) -> None:
    found = [(table, leaks(row)) for table, row in rows_of_every_table() if leaks(row)]

    assert found == []
    assert any(table == "dist_task_executionlog" and "***" in row for table, row in rows_of_every_table())


def test_no_message_of_the_queue_has_it(used: str) -> None:
    async_task(DRAIN, cluster="canary")

    (message,) = OrmQ.objects.all()

    assert message.task["func"] == DRAIN
    assert leaks(str(message.task)) == []


def test_no_answer_of_the_api_has_it(used: str) -> None:
    answers = list(api_answers(used, flow=Flow.objects.get(name="canary_flow")))

    assert [(path, leaks(text)) for path, text in answers if leaks(text)] == []
    assert any("***" in text for _path, text in answers)


def test_no_page_of_the_console_has_it(used: str) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"), backend="django.contrib.auth.backends.ModelBackend")

    pages = list(admin_pages(client))

    assert [(page, leaks(text)) for page, text in pages if leaks(text)] == []
    assert any("***" in text for _page, text in pages)


def test_no_log_record_has_it(caplog: pytest.LogCaptureFixture, used: str) -> None:
    records = caplog.get_records("setup")  # the worker ran while `used` was made

    text = "\n".join(logging.Formatter().format(record) for record in records)

    assert leaks(text + str([vars(record) for record in records])) == []
    assert "RuntimeError: cannot log in as ***" in text
    assert "connecting with {'do': 'succeed', 'password': '***'}" in text


def test_exceptions_say_what_happened_without_it(used: str) -> None:
    messages = set(ExceptionRecord.objects.values_list("error_code", "error_message"))

    assert ("E-***", "the service answered 403: denied for ***") in messages
    assert ("***", "RPC call failed: no: ***") in messages
    assert ("***", "refused ***") in messages
    assert ("EXECUTOR_ERROR", "RuntimeError: cannot log in as ***") in messages
    assert Transaction.objects.get(instance_id=used).status == "failed"
