"""Tasks that wait: for a time, or for a person. Nobody holds the transaction meanwhile."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dist_task.engine import operate
from dist_task.errors import IllegalMove
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord

from .conftest import begin, finished, make_flow, stored
from .service import Service
from .test_transactions_run import http, statuses
from .worker import WorkerThread, wait_for


def waits(task_id: str, *depends_on: str, **config: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "wait", "config": config, "depends_on": list(depends_on)}


def approval(task_id: str = "ok", *depends_on: str, **config: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "approval", "config": config, "depends_on": list(depends_on)}


def released(instance_id: str) -> bool:
    return stored(instance_id).owner is None and statuses(instance_id).get("ok") == "waiting"


def decide(
    instance_id: str, *, approve: bool = True, roles: frozenset[str] | None = None, remark: str = "fine"
) -> None:
    operate.decide_approval(instance_id, "ok", approve=approve, actor="ada", roles=roles, remark=remark)


def test_a_wait_goes_on_when_its_time_has_come(worker: WorkerThread, service: Service) -> None:
    began_at = time.monotonic()

    txn = finished(begin(make_flow(waits("pause", seconds=0.4), http("after", service, "pause"))))

    assert (txn.status, len(service.calls)) == ("success", 1)
    assert service.calls[0].began_at - began_at >= 0.4
    events = ExecutionLog.objects.filter(transaction=txn, task_id="pause").values_list("event", flat=True)
    assert list(events) == ["waiting", "succeeded"]


def test_a_long_wait_is_held_by_nobody(worker: WorkerThread) -> None:
    instance_id = begin(make_flow({**waits("ok"), "config": {"seconds": "${params.days}"}}), params={"days": 86_400})

    wait_for(lambda: released(instance_id))

    due_in = stored(instance_id).wake_at - datetime.now(UTC)
    assert timedelta(hours=23) < due_in < timedelta(hours=25)


def test_a_time_that_has_passed_is_no_wait(worker: WorkerThread) -> None:
    assert finished(begin(make_flow(waits("pause", until="2024-01-31T10:00:00Z")))).status == "success"


def test_a_wait_that_is_none_fails_for_good(worker: WorkerThread) -> None:
    flow = make_flow({**waits("pause"), "config": {"seconds": "${params.seconds}"}})

    txn = finished(begin(flow, params={"seconds": "soon"}))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome) == ("failed", "INVALID_INPUT", "terminal")


def test_a_sibling_goes_on_beside_a_wait(worker: WorkerThread, service: Service) -> None:
    instance_id = begin(make_flow(approval(), http("a", service), http("b", service, "a")))

    wait_for(lambda: statuses(instance_id).get("b") == "success" and released(instance_id))

    txn = stored(instance_id)
    assert (txn.status, txn.wake_at, txn.owner) == ("running", None, None)


def test_an_approved_transaction_goes_on_and_knows_who_said_so(worker: WorkerThread, service: Service) -> None:
    told = http("ship", service, "ok", input={"by": "${tasks.ok.output.approved_by}"})
    instance_id = begin(make_flow(approval(message="Ship ${params.what}?"), told), params={"what": "it"})
    wait_for(lambda: released(instance_id))

    decide(instance_id, remark="looks right")

    assert finished(instance_id).status == "success"
    assert service.calls[0].body == {"by": "ada"}
    log = ExecutionLog.objects.filter(transaction__instance_id=instance_id, task_id="ok").order_by("id")
    assert [entry.event for entry in log] == ["waiting", "answered", "succeeded"]
    assert log[0].response["message"] == "Ship it?"
    assert (log[1].actor, log[1].message, log[1].detail["approved"]) == ("ada", "looks right", True)


def test_a_rejected_one_fails_with_the_reason(worker: WorkerThread, service: Service) -> None:
    instance_id = begin(make_flow(approval(), http("ship", service, "ok")))
    wait_for(lambda: released(instance_id))

    decide(instance_id, approve=False, remark="too dear")

    assert finished(instance_id).status == "failed"
    record = ExceptionRecord.objects.get(transaction__instance_id=instance_id)
    assert (record.status, record.error_code) == ("open", "REJECTED")
    assert "ada" in record.error_message and "too dear" in record.error_message
    assert service.calls == []


def test_of_two_decisions_the_first_one_counts(worker: WorkerThread) -> None:
    instance_id = begin(make_flow(approval(), approval("later", "ok")))
    wait_for(lambda: released(instance_id))
    decide(instance_id)

    with pytest.raises(IllegalMove, match="no approval"):
        decide(instance_id, approve=False)

    wait_for(lambda: statuses(instance_id).get("later") == "waiting")
    assert statuses(instance_id)["ok"] == "success"


@pytest.mark.parametrize(
    ("roles", "may"), [(frozenset({"risk"}), True), (frozenset({"operator"}), False), (None, True)]
)
def test_the_members_of_its_role_decide(worker: WorkerThread, roles: frozenset[str] | None, may: bool) -> None:
    instance_id = begin(make_flow(approval(role="risk")))
    wait_for(lambda: released(instance_id))

    if may:
        decide(instance_id, roles=roles)
        assert finished(instance_id).status == "success"
    else:
        with pytest.raises(IllegalMove, match="risk"):
            decide(instance_id, roles=roles)
        assert TaskRun.objects.get(transaction__instance_id=instance_id).answer is None


def test_an_approval_that_nobody_gives_in_time_fails(worker: WorkerThread) -> None:
    txn = finished(begin(make_flow(approval(within=0.2))))

    record = ExceptionRecord.objects.get(transaction=txn)
    assert (txn.status, record.error_code, record.outcome) == ("failed", "NO_ANSWER", "terminal")


def test_what_waits_is_cancelled_at_once(worker: WorkerThread) -> None:
    instance_id = begin(make_flow(approval()))
    wait_for(lambda: released(instance_id))

    operate.cancel_transaction(instance_id, actor="ada", remark="why")

    assert (stored(instance_id).status, statuses(instance_id)) == ("cancelled", {"ok": "cancelled"})
    with pytest.raises(IllegalMove):
        decide(instance_id)
