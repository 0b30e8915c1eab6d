"""A flow that can be undone, the rule switched on, and the few words that these tests are written in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from dist_task.engine import operate
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.models import ExecutionLog
from flows.models import Flow
from flows.register import register
from tests.api.conftest import closed
from tests.commands import rows
from transactions.models import Transaction

__all__ = ["closed"]  # a fixture
UNDONE = {
    "id": "pay",
    "name": "Pay",
    "type": "noop",
    "retry": {"strategy": "manual", "interval": 0},
    "compensate": {"type": "noop"},
}
WHY = "the customer sent it back"


@pytest.fixture
def rule(settings: Any) -> Callable[..., None]:
    def switch(*acts: str, **more: Any) -> None:
        settings.DIST_TASK = {**settings.DIST_TASK, "FOUR_EYES": acts, **more}

    switch("compensate", "batch")
    return switch


@pytest.fixture
def flow(db: None) -> Flow:
    return undoable()


def undoable() -> Flow:
    return register(name="undoable", flow_type="t", definition={"tasks": [UNDONE]}, create_user="admin")


def ask(instance_id: str = "i1", *, actor: str = "ana", remark: str = WHY) -> ApprovalRequest:
    """For the compensation of a transaction."""
    found = operate.awaiting_request(operate.compensate_transaction(instance_id, actor=actor, remark=remark))
    assert found is not None
    return found


def asked(flow: Flow, instance_id: str = "i1", **values: str) -> ApprovalRequest:
    """The same of a successful one that is made for it."""
    rows.succeed_one(instance_id, flow=flow)
    return ask(instance_id, **values)


def stored(request: ApprovalRequest) -> ApprovalRequest:
    return ApprovalRequest.objects.get(pk=request.pk)


def undoing(instance_id: str = "i1") -> str:
    return Transaction.objects.values_list("compensation", flat=True).get(instance_id=instance_id)


def log_of(instance_id: str = "i1") -> list[tuple[str, str, str]]:
    """What people, and the service in their place, did with the transaction."""
    entries = ExecutionLog.objects.filter(transaction__instance_id=instance_id, task_id="").order_by("id")
    return list(entries.values_list("event", "actor", "message"))


def let_time_pass(request: ApprovalRequest, *, by: timedelta = timedelta(hours=25)) -> None:
    ApprovalRequest.objects.filter(pk=request.pk).update(asked_at=F("asked_at") - by, expires_at=F("expires_at") - by)
