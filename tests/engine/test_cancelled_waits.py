"""Cancelling what goes on elsewhere: nobody can say that it was not done, so it is shown, and undone if asked for."""

from __future__ import annotations

import pytest

from dist_task.engine import operate
from dist_task.engine.store import verbs
from dist_task.errors import IllegalMove, NotFound
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .test_callbacks import ACCEPTED
from .test_compensation import compensated, paths, undoable
from .worker import WorkerThread, wait_for


def waits(instance_id: str, *, waits_for: str) -> None:
    wait_for(lambda: TaskRun.objects.filter(transaction__instance_id=instance_id, waits_for=waits_for).exists())


def test_a_wait_for_a_callback_ends_as_unknown(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", ACCEPTED)
    config = {"url": service.url("/a"), "callback": True}
    instance_id = begin(make_flow(undoable("a", service, config=config)))
    waits(instance_id, waits_for="callback")

    operate.cancel_transaction(instance_id, actor="ada", remark="why")

    assert finished(instance_id).status == "cancelled"
    run = TaskRun.objects.get(transaction__instance_id=instance_id)
    assert (run.status, run.maybe_executed, run.error_code) == ("failed", True, "NO_ANSWER")
    record = ExceptionRecord.objects.get(run=run)
    assert (record.status, record.outcome) == ("open", "unknown")
    assert "cancelled before an answer" in record.error_message
    operate.compensate_transaction(instance_id, actor="ada", remark="why")
    assert compensated(instance_id) == "done"
    assert paths(service) == ["/a", "/undo-a"]


def test_a_service_that_is_at_it_is_not_asked_again(worker: WorkerThread, service: Service) -> None:
    service.answer("/a", Answer(425), Answer(425))
    instance_id = begin(make_flow(undoable("a", service, retry={"strategy": "auto", "interval": 300})))
    waits(instance_id, waits_for="service")

    operate.cancel_transaction(instance_id, actor="ada", remark="why")

    assert finished(instance_id).status == "cancelled"
    assert ExceptionRecord.objects.get(transaction__instance_id=instance_id).outcome == "unknown"
    assert len(service.calls) == 1


@pytest.mark.parametrize("task", [{"type": "wait", "config": {"seconds": 900}}, {"type": "approval", "config": {}}])
def test_what_waits_for_nothing_outside_is_cancelled_at_once(worker: WorkerThread, task: dict[str, object]) -> None:
    instance_id = begin(make_flow({"id": "a", **task}))
    wait_for(lambda: TaskRun.objects.filter(transaction__instance_id=instance_id, status="waiting").exists())

    assert operate.cancel_transaction(instance_id, actor="ada", remark="why").status == "cancelled"
    assert not ExceptionRecord.objects.filter(transaction__instance_id=instance_id).exists()


def test_an_approval_of_what_is_being_cancelled_is_refused(worker: WorkerThread, service: Service) -> None:
    gate = service.hold("/slow")
    tasks = {"id": "ask", "type": "approval", "config": {}}, undoable("slow", service)
    instance_id = begin(make_flow(*tasks))
    waits(instance_id, waits_for="approval")
    wait_for(lambda: service.in_progress["/slow"] == 1)
    operate.cancel_transaction(instance_id, actor="ada", remark="why")

    with pytest.raises(IllegalMove, match="no approval"):
        operate.decide_approval(instance_id, "ask", approve=True, actor="ada", roles=None, remark="why")

    gate.set()
    assert finished(instance_id).status == "cancelled"


def test_what_was_pruned_meanwhile_is_not_found(db: None) -> None:
    with pytest.raises(NotFound, match="any more"):
        verbs.lock(4711)
