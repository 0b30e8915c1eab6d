"""Workers know connections and secrets soon after somebody changed them, and keep what connections say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from dist_task.engine import drain as drain_module
from dist_task.engine.slots import Slots
from dist_task.engine.store.registered import changed
from dist_task.errors import ExecutionError
from dist_task.executors.apart import Apart
from dist_task.executors.base import Result, TaskCall
from dist_task.executors.connections import CONNECTIONS
from dist_task.executors.connections import Connection as Known
from dist_task.executors.secrets import SECRETS
from exceptions_app.models import ExceptionRecord
from flows.models import Connection, Secret
from flows.secret_rows import store

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .worker import WorkerThread, wait_for

AUTO = {"strategy": "auto", "max_attempts": 200, "interval": 0.05}


@pytest.fixture(autouse=True)
def _attentive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "TIDY_SECONDS", 0.05)


def register(service: Service, **config: Any) -> Connection:
    given = {"base_url": f"http://{service.netloc}", **config}
    return Connection.objects.create(name="payment", kind="http", config=given)


def task(path: str = "/pay", **given: Any) -> dict[str, Any]:
    return {"id": "pay", "type": "http", "config": {"connection": "payment", "path": path}, **given}


def test_what_is_registered_just_before_its_flow_is_known_to_the_first_attempt(
    monkeypatch: pytest.MonkeyPatch, start_worker: Callable[[], WorkerThread], service: Service
) -> None:
    monkeypatch.setattr(drain_module, "TIDY_SECONDS", 600.0)
    start_worker()
    finished(begin(make_flow()))
    register(service, auth={"type": "bearer", "secret": "TOKEN"})
    store("TOKEN", value="the-token-of-a-test", actor="x")

    instance_id = begin(make_flow(task()))

    assert finished(instance_id).status == "success"
    assert service.calls_of("/pay")[0].headers["authorization"] == "Bearer the-token-of-a-test"


def test_a_changed_connection_and_a_changed_secret_count_without_a_restart(
    worker: WorkerThread, service: Service
) -> None:
    row = register(service, headers={"X-Shop": "1", "X-Key": "${secrets.KEY}"})
    store("KEY", value="first-key", actor="x")
    flow = make_flow(task())
    finished(begin(flow))

    row.config = {**row.config, "headers": {"X-Shop": "2", "X-Key": "${secrets.KEY}"}}
    row.save(update_fields=["config"])
    store("KEY", value="second-key", actor="x")
    wait_for(lambda: SECRETS.told()["values"].get("KEY") == "second-key")
    finished(begin(flow))

    sent = [(call.headers["x-shop"], call.headers["x-key"]) for call in service.calls_of("/pay")]
    assert sent == [("1", "first-key"), ("2", "second-key")]


def test_a_switched_off_connection_is_tried_again_until_it_is_on(worker: WorkerThread, service: Service) -> None:
    row = register(service)
    Connection.objects.update(is_active=False)
    instance_id = begin(make_flow(task(retry=AUTO)))
    wait_for(lambda: ExceptionRecord.objects.filter(transaction__instance_id=instance_id).exists())
    record = ExceptionRecord.objects.get()

    row.is_active = True
    row.save(update_fields=["is_active"])

    assert record.error_code == "CONNECTION_INACTIVE"
    assert finished(instance_id).status == "success"


def test_a_missing_secret_is_an_exception_that_names_it(worker: WorkerThread, service: Service) -> None:
    register(service, auth={"type": "bearer", "secret": "NOWHERE"})

    finished(begin(make_flow(task())))

    record = ExceptionRecord.objects.get()
    assert (record.error_code, record.error_message) == ("NO_SECRET", "the secret NOWHERE is not set")
    assert not service.calls


def test_the_cap_of_a_connection_holds(worker: WorkerThread, service: Service) -> None:
    register(service, cap=2)
    tasks = [{**task(), "id": f"t{number}"} for number in range(6)]
    gate = service.hold("/pay")

    instance_id = begin(make_flow(*tasks))
    wait_for(lambda: service.in_progress["/pay"] == 2)
    gate.set()

    assert finished(instance_id).status == "success"
    most = max(
        sum(other.began_at <= call.began_at < other.ended_at for other in service.calls) for call in service.calls
    )
    assert most <= 2


def test_a_cap_may_change_at_any_time() -> None:
    caps = {"payment": 1}
    slots = Slots(total=10, per_target=5, per_transaction=10, caps=(caps,))

    rooms = [slots.room("payment"), slots.room("other")]
    caps["payment"] = 3
    rooms.append(slots.room("payment"))
    del caps["payment"]
    rooms.append(slots.room("payment"))

    assert rooms == [1, 5, 3, 5]


@pytest.mark.django_db(transaction=True)
def test_nothing_is_answered_while_nothing_changes() -> None:
    with connection.cursor() as cursor:
        marks = []

        def mark_after(change: Callable[[], Any]) -> None:
            change()
            found = changed(cursor, mark=marks[-1] if marks else None)
            assert found is not None
            assert changed(cursor, mark=found.mark) is None
            marks.append(found.mark)

        mark_after(lambda: None)
        mark_after(lambda: Connection.objects.create(name="a", kind="http", config={}))
        mark_after(lambda: store("A", value="a value", actor="x"))
        mark_after(lambda: store("A", value="a value", actor="x"))
        mark_after(lambda: Connection.objects.update(is_active=False))
        mark_after(lambda: Secret.objects.all().delete())

    assert len(set(marks)) == len(marks)


def test_a_process_apart_knows_them_and_tells_nothing(service: Service) -> None:
    config = {"base_url": f"http://{service.netloc}", "auth": {"type": "bearer", "secret": "TOKEN"}}
    CONNECTIONS.put([Known("payment", kind="http", config=config)])
    SECRETS.put({"TOKEN": "only-the-child-fills-this"})
    service.answer("/pay", Answer(403, {"message": "no: only-the-child-fills-this"}))
    service.answer("/ok", Answer(200, {"got": "only-the-child-fills-this"}))

    async def scenario() -> tuple[ExecutionError, Result]:
        apart = Apart()
        try:
            with pytest.raises(ExecutionError) as caught:
                await apart.execute("http", call_of("/pay"))
            return caught.value, await apart.execute("http", call_of("/ok"))
        finally:
            await apart.close()

    error, result = asyncio.run(scenario())

    assert service.calls[0].headers["authorization"] == "Bearer only-the-child-fills-this"
    assert str(error) == "the service answered 403: no: ***"
    assert "only-the-child" not in str((error.request, error.response, result))


def call_of(path: str) -> TaskCall:
    return TaskCall("txn", "pay", "action", -1, 1, {"connection": "payment", "path": path}, {}, 30.0)


def test_a_template_in_parameters_is_data(worker: WorkerThread, service: Service) -> None:
    store("TOKEN", value="nobody-may-ask-for-this", actor="x")
    flow = make_flow({"id": "pay", "type": "http", "config": {"url": service.url("/pay")}})

    finished(begin(flow, params={"note": "${secrets.TOKEN}"}))

    assert service.calls_of("/pay")[0].body == {"note": "${secrets.TOKEN}"}
