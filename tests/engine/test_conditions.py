"""`when`: a task runs, or is skipped and lets the flow go on."""

from __future__ import annotations

from typing import Any

import pytest

from dist_task.engine import operate
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord

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

    operate.compensate_transaction(txn.instance_id, actor="ada")

    assert compensated(txn.instance_id) == "done"
    assert undone(txn.instance_id) == {"a": "success"}
