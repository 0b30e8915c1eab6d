"""/health, /livez, /readyz"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from dist_task.models import Worker
from flows.models import Flow
from tests.api.conftest import Api
from tests.commands.rows import start_one
from transactions.models import Transaction


@pytest.fixture
def worker(db: None) -> Worker:
    until = timezone.now() + timedelta(minutes=5)
    return Worker.objects.create(cluster="c", host="h", pid=1, lease_until=until)


def test_it_is_alive(api: Api) -> None:
    assert api.get("/livez").data == {"status": "ok"}


def test_it_is_ready_with_a_worker_and_nothing_overdue(api: Api, worker: Worker) -> None:
    data = api.get("/readyz").data

    assert data == {"status": "ok", "checks": {"database": True, "workers": 1, "oldest_due_seconds": 0.0}}


def test_it_is_not_ready_when_the_last_lease_ran_out(api: Api, worker: Worker) -> None:
    Worker.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    answer = api.get("/readyz")

    assert answer.status == 503
    assert answer.data["checks"]["workers"] == 0
    assert len(answer.data["reasons"]) == 1


def test_it_is_not_ready_when_due_work_grows_old(api: Api, worker: Worker, flow: Flow) -> None:
    start_one("i1", flow=flow)
    Transaction.objects.update(wake_at=timezone.now() - timedelta(seconds=90))

    answer = api.get("/readyz")

    assert answer.status == 503
    assert answer.data["checks"]["oldest_due_seconds"] >= 90


def test_without_a_database_it_says_so(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("django.db.backends.utils.CursorWrapper.execute", refuse)
        answer = api.get("/readyz")
        assert api.get("/livez").status == 200

    assert answer.status == 503
    assert answer.data["checks"] == {"database": False}
