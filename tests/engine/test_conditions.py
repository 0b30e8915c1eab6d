"""`when`: a task runs, or is skipped and lets the flow go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from dist_task.engine import operate, rescue
from dist_task.engine.inputs import Inputs
from dist_task.engine.store import leases
from dist_task.engine.store.batch import Begun, Write
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests import recording

from .conftest import begin, finished, make_flow, stored
from .service import Answer, Service
from .test_compensation import compensated, undoable, undone
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for


@pytest.mark.parametrize(("amount", "expected"), [(500, "success"), (5, "skipped")])
def test_a_condition_on_params_decides_whether_a_task_runs(
    worker: WorkerThread, service: Service, amount: int, expected: str
) -> None:
    flow = make_flow(http("check", service, when="params.amount > 100"), http("pay", service, "check"))

    txn = finished(begin(flow, params={"amount": amount}))

    assert txn.status == "success"
    assert statuses(txn.instance_id) == {"check": expected, "pay": "success"}
    assert [call.path for call in service.calls] == ["/check", "/pay"][expected == "skipped" :]


def test_a_condition_looks_at_what_other_tasks_gave(worker: WorkerThread, service: Service) -> None:
    service.answer("/stock", Answer(body={"left": 0}))
    flow = make_flow(
        http("stock", service),
        http("ship", service, "stock", when="tasks.stock.output.left > 0"),
        http("sorry", service, "stock", when="$not(tasks.stock.output.left > 0)"),
    )

    txn = finished(begin(flow))

    assert statuses(txn.instance_id) == {"stock": "success", "ship": "skipped", "sorry": "success"}
    entry = ExecutionLog.objects.get(transaction=txn, event="skipped")
    assert (entry.task_id, entry.actor, entry.attempt) == ("ship", "system", 0)


def test_a_chain_of_skipped_tasks_ends_in_a_success(worker: WorkerThread, service: Service) -> None:
    flow = make_flow(*(http(f"t{n}", service, *[f"t{n - 1}"] * (n > 0), when="false") for n in range(4)))

    txn = finished(begin(flow))

    assert (txn.status, set(statuses(txn.instance_id).values()), service.calls) == ("success", {"skipped"}, [])


def test_what_a_skipped_task_gave_is_null(worker: WorkerThread, service: Service) -> None:
    flow = make_flow(
        http("a", service, when="false"),
        http("b", service, "a", input={"a": "${tasks.a.output}"}),
        http("c", service, "a", when="tasks.a.output.x = 1"),
    )

    txn = finished(begin(flow))

    assert statuses(txn.instance_id) == {"a": "skipped", "b": "success", "c": "skipped"}
    assert service.calls[0].body == {"a": None}


def test_a_condition_that_has_no_result_fails_the_task_until_somebody_retries(
    worker: WorkerThread, service: Service
) -> None:
    txn = finished(begin(make_flow(http("a", service, when="params.n + 1 > 0")), params={"n": "one"}))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome) == ("failed", "EXPRESSION_FAILED", "terminal")
    assert service.calls == []
    operate.retry_transaction(txn.instance_id, actor="ada")

    wait_for(lambda: ExceptionRecord.objects.get(pk=record.pk).occurrences == 2)
    assert finished(txn.instance_id).status == "failed"


def test_what_was_tried_once_is_not_skipped_afterwards(worker: WorkerThread, service: Service) -> None:
    """The same data give the same answer; and what may have been done is not taken for undone."""
    service.answer("/a", Answer(400))
    txn = finished(begin(make_flow(http("a", service, when="params.x = 1")), params={"x": 1}))

    operate.retry_transaction(txn.instance_id, actor="ada")

    wait_for(lambda: stored(txn.instance_id).status == "success")
    assert TaskRun.objects.get(transaction=txn).attempt == 2


def test_what_was_skipped_is_not_undone(worker: WorkerThread, service: Service) -> None:
    tasks: list[dict[str, Any]] = [undoable("a", service), undoable("b", service, "a", when="false")]
    txn = finished(begin(make_flow(*tasks)))

    operate.compensate_transaction(txn.instance_id, actor="ada", remark="why")

    assert compensated(txn.instance_id) == "done"
    assert undone(txn.instance_id) == {"a": "success"}


def test_many_tasks_are_judged_once_each(
    worker: WorkerThread, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    judge = Inputs.is_wanted

    def counted(inputs: Inputs, task_id: str) -> bool:
        judged.append(task_id)
        return judge(inputs, task_id)

    monkeypatch.setattr(Inputs, "is_wanted", counted)
    tasks = [http(f"t{number}", service, when="params.go") for number in range(120)]

    assert finished(begin(make_flow(*tasks), params={"go": True})).status == "success"

    assert sorted(judged) == sorted(task["id"] for task in tasks)


def test_dear_conditions_leave_the_worker_time_for_others(worker: WorkerThread, service: Service) -> None:
    dear = "$sum($map([1..300], function($v) {$v * params.x})) > 0"
    tasks = [http(f"t{number}", service, when=dear) for number in range(200)]
    wide = begin(make_flow(*tasks), params={"x": -1})

    other = finished(begin(make_flow(http("a", service))))

    assert other.status == "success"
    assert not stored(wide).is_final, "the short one was not behind the wide one"
    wait_for(lambda: stored(wide).is_final)
    assert set(statuses(wide).values()) == {"skipped"}


def test_a_condition_without_a_result_has_none_after_a_lost_worker(
    start_worker: Callable[[], WorkerThread], service: Service
) -> None:
    retry = {"strategy": "auto", "max_attempts": 3, "interval": 0}
    instance_id = begin(make_flow(http("pay", service, when="$number(params.x) > 3", retry=retry)), params={"x": "abc"})
    with connection.cursor() as cursor:
        lost = leases.register(cursor, cluster="", host="", pid=1, lease_seconds=600)
    (claimed,) = recording.claim(worker_id=lost, limit=5)
    begun = Begun("pay", 1, 3, {})
    recording.record(Write(claimed.transaction_id, claimed.revision, begun=[begun]), worker_id=lost)
    rescue.report_deaths([lost])

    start_worker()

    assert finished(instance_id).status == "failed"
    assert service.calls == []


def test_a_task_whose_service_is_at_it_is_not_judged_again(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(400))
    service.answer("/b", Answer(425))
    a = http("a", service, optional=True)
    condition = "tasks.a.output = null or tasks.a.output.x != 42"
    b = http("b", service, "a", when=condition, retry={"strategy": "no_retry", "interval": 1})
    instance_id = begin(make_flow(a, b))
    wait_for(lambda: statuses(instance_id).get("b") == "waiting")
    service.answer("/a", Answer(body={"x": 42}))

    operate.retry_exception(ExceptionRecord.objects.get(task_id="a").pk, actor="ada", delay_seconds=0)

    wait_for(lambda: stored(instance_id).is_final)
    assert statuses(instance_id) == {"a": "success", "b": "success"}
