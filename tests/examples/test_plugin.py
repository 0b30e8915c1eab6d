"""The package of examples/plugin: found by its entry point once it is installed, and run by a real worker."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dist_task.errors import ExecutionError
from dist_task.executors.base import TaskCall, executors
from dist_task.executors.secrets import SECRETS
from dist_task.executors.threads import blocks, execute
from dist_task.given_secrets import in_environment
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.api.conftest import Api
from tests.engine.conftest import begin, finished, start_worker, worker  # noqa: F401  # fixtures
from tests.engine.worker import WorkerThread

from .conftest import ROOT

PLUGIN = ROOT / "examples" / "plugin"
PROJECT = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FLOW = json.loads((PLUGIN / "flow.json").read_text(encoding="utf-8"))
PIN = "pin-4711-secret"
KINDS = ("sms", "sms_blocking")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """As an installer leaves it: the module, and a dist-info folder with the entry points of pyproject.toml."""
    shutil.copy(PLUGIN / "dist_task_sms.py", tmp_path)
    about = tmp_path / f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {path}\n" for name, path in named.items())
        for group, named in PROJECT["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("".join(points))
    monkeypatch.syspath_prepend(str(tmp_path))
    executors.cache_clear()
    yield importlib.import_module("dist_task_sms")
    sys.modules.pop("dist_task_sms")
    executors.cache_clear()


@pytest.fixture
def gateway(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(PLUGIN))
    module = importlib.import_module("sms_gateway")
    monkeypatch.setenv("DIST_TASK_SECRET_SMS_PASSWORD", module.PASSWORD)
    monkeypatch.setenv("DIST_TASK_SECRET_PARCEL_PIN", PIN)
    with module.Gateway() as gateway:
        connection = {"host": "127.0.0.1", "port": gateway.port, "password": "${secrets.SMS_PASSWORD}"}
        given = {kind: {"kind": kind, **connection} for kind in KINDS}
        settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": given}
        yield gateway


def posted(kind: str) -> Flow:
    """The flow of the example, through an executor of this kind."""
    text = json.dumps(FLOW).replace('"type": "sms"', f'"type": "{kind}"')
    return register(
        name="tell",
        flow_type="example",
        definition=text.replace('"connection": "sms"', f'"connection": "{kind}"'),
        create_user="example",
    )


def test_an_installed_package_brings_its_executors(installed: ModuleType) -> None:
    found = executors()

    assert {kind: type(found[kind]).__name__ for kind in KINDS} == {
        "sms": "SmsExecutor",
        "sms_blocking": "BlockingSmsExecutor",
    }
    assert [blocks(found[kind]) for kind in KINDS] == [False, True]


def test_a_settings_module_brings_it_as_well() -> None:
    program = "import django; django.setup(); from dist_task.executors.base import executors; print(*executors())"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings_with_sms", "PYTHONPATH": f"{PLUGIN}:{ROOT}"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {"http", "sms"} <= set(done.stdout.split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_sends_a_message_and_its_secrets_are_in_no_log(
    installed: ModuleType,
    gateway: Any,
    worker: WorkerThread,  # noqa: F811  # the fixture
    kind: str,
) -> None:
    txn = finished(begin(posted(kind), instance_id="order_1", params={"phone": "+4912345"}))

    (message,) = gateway.sent.values()
    run = TaskRun.objects.get(transaction=txn)
    assert (txn.status, run.output) == ("success", {"id": "sms-1"})
    assert message["text"] == f"Order order_1 is on its way. PIN: {PIN}"
    assert message["sender"] == "Shop"
    stored = json.dumps([run.input, *ExecutionLog.objects.values_list("request", "response", "message")])
    assert "Order order_1 is on its way. PIN: ${secrets.PARCEL_PIN}" in stored
    assert PIN not in stored and gateway.sent[message["key"]]["password"] not in stored


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moods", [["busy"], ["lose"], ["busy", "lose", "busy"]])
def test_a_message_is_tried_again_with_its_key_and_sent_once(
    installed: ModuleType,
    gateway: Any,
    worker: WorkerThread,  # noqa: F811  # the fixture
    kind: str,
    moods: list[str],
) -> None:
    gateway.moods.extend(moods)

    txn = finished(begin(posted(kind), params={"phone": "+4912345"}))

    assert (txn.status, len(gateway.asked), len(gateway.sent)) == ("success", len(moods) + 1, 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("phone", "code"), [("0123", "REFUSED"), (17, "INVALID_INPUT")])
def test_what_can_never_be_sent_fails_at_once(
    installed: ModuleType,
    gateway: Any,
    worker: WorkerThread,  # noqa: F811  # the fixture
    kind: str,
    phone: object,
    code: str,
) -> None:
    txn = finished(begin(posted(kind), params={"phone": phone}))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome, record.occurrences) == ("failed", code, "terminal", 1)
    assert gateway.sent == {}


async def attempt(kind: str, *, seconds: float) -> ExecutionError:
    given = {"to": "+49123", "text": "hello"}
    call = TaskCall("order_1", "tell", "action", -1, 1, {"connection": kind}, given, timeout_seconds=seconds)
    with pytest.raises(ExecutionError) as caught:
        await execute(executors()[kind], call)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_its_deadline_and_says_that_nobody_knows(installed: ModuleType, gateway: Any, kind: str) -> None:

    SECRETS.put(in_environment())
    gateway.moods.append("hang")

    error = asyncio.run(attempt(kind, seconds=0.2))

    assert (error.code, error.unknown, error.permanent) == ("TIMEOUT", True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nobody_listens_nothing_was_sent(installed: ModuleType, settings: Any, kind: str) -> None:
    given = {kind: {"kind": kind, "host": "127.0.0.1", "port": 9}}
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": given}

    error = asyncio.run(attempt(kind, seconds=5))

    assert (error.code, error.unknown, error.permanent) == ("CONNECTION_REFUSED", False, False)


def test_a_config_is_refused_with_path_problem_and_hint(installed: ModuleType, gateway: Any, db: None) -> None:
    config = {"connection": "fax", "sender": "x" * 12, "sendr": "Shop"}
    body = {"name": "n", "flow_type": "t", "create_user": "me"}

    answer = Api().post(
        "/api/v1/flows", {**body, "definition": {"tasks": [{"id": "a", "type": "sms", "config": config}]}}
    )

    found = {each["field"]: each["hint"] for each in answer.data["errors"]}
    assert found == {
        "tasks[0].config.sendr": "did you mean sender?",
        "tasks[0].config.connection": 'for example "connection": "sms"',
        "tasks[0].config.sender": 'for example "sender": "Shop"',
    }
