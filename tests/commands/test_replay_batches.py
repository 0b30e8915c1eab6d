"""With many rows the replay commands make a batch, and wait for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dist_task.batches.models import Batch
from dist_task.engine.batches.verbs import cancel
from dist_task.engine.operate import handle_exception
from dist_task.management import replay
from dist_task.management.batches import somebody_works
from exceptions_app.models import ExceptionRecord
from tests.batches.conftest import fail_many
from tests.commands.rows import fail_one, make_flow
from tests.engine.conftest import start_worker
from tests.engine.worker import WorkerThread, wait_for
from transactions.models import Transaction

__all__ = ["start_worker"]  # a fixture
Start = Callable[[], WorkerThread]


def test_many_exceptions_are_a_batch_that_is_waited_for(run, start_worker: Start) -> None:
    fail_many(replay.MANY + 1, flow=make_flow())
    start_worker()
    wait_for(somebody_works)

    ran = run("replay_exceptions", "--delay", "0", "--remark", "the bank is back", "--rate", "1000")

    batch = Batch.objects.get()
    assert ran.code == 0
    assert ran.out.splitlines()[0] == f"batch {batch.pk}: 201 exceptions"
    assert ran.out.splitlines()[-1] == "201 exceptions retried, 0 failed"
    assert (batch.done, batch.remark, batch.parameters) == (201, "the bank is back", {"delay": 0})
    assert batch.created_by.startswith("command:")


def test_what_was_refused_is_told_and_the_code_is_1(run, start_worker: Start) -> None:
    fail_one("a", flow=make_flow(strategy="no_retry"))
    fail_one("b", flow=make_flow(name="others"))
    start_worker()

    ran = run("replay_exceptions", "--batch", "--delay", "0")

    assert ran.code == 1
    assert ran.out.splitlines()[-1] == "1 exception retried, 1 failed"
    assert "must not be retried" in ran.err
    assert ran.err.startswith("a (")


@pytest.mark.django_db
def test_where_nobody_works_many_are_retried_by_the_command_itself(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MANY", 2)
    fail_many(3, flow=make_flow())

    assert run("replay_transactions").out == "3 transactions retried, 0 failed\n"
    assert not Batch.objects.exists()


@pytest.mark.django_db
def test_a_batch_may_be_left_to_the_cluster_with_a_limit_and_names(run) -> None:
    flow = make_flow()
    fail_many(3, flow=flow)
    handle_exception(ExceptionRecord.objects.latest("id").pk, actor="tester")

    first = run("replay_transactions", "--no-wait", "--limit", "2")
    words = [word for each in ("many-1", "nobody") for word in ("--instance-id", each)]
    named = run("replay_transactions", "--no-wait", *words)

    limited, of_names = Batch.objects.order_by("id")
    assert (first.code, first.out) == (0, f"batch {limited.pk}: 2 transactions\n")
    assert sorted(limited.items.values_list("name", flat=True)) == ["many-1", "many-2"]
    assert "nobody: not found" in named.err
    assert list(of_names.items.values_list("name", flat=True)) == ["many-1"]
    assert Transaction.objects.filter(status="failed").count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize("words", [["--dry-run", "--batch"], ["--batch", "--error-code", "NONE"]])
def test_nothing_is_made_of_a_dry_run_or_of_nothing(run, words: list[str]) -> None:
    fail_one("a", flow=make_flow())

    ran = run("replay_exceptions", *words)

    assert ran.code == 0
    assert not Batch.objects.exists()


@pytest.mark.django_db
def test_a_wrong_rate_is_a_wrong_argument(run) -> None:
    fail_one("a", flow=make_flow())

    assert run("replay_exceptions", "--batch", "--rate", "0").code == 2


@pytest.mark.django_db
def test_a_batch_that_somebody_cancels_is_a_failure(run, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_one("a", flow=make_flow())
    told: list[str] = []

    def cancelled() -> bool:
        told.append("asked")
        cancel(Batch.objects.get().pk, actor="bo", remark="why")
        return False

    monkeypatch.setattr("dist_task.management.batches.somebody_works", cancelled)
    ran = run("replay_exceptions", "--batch")

    assert ran.code == 1
    assert "was cancelled: 1 of 1 were not retried" in ran.err
    assert "nobody works: start a cluster" in ran.out
    assert told == ["asked"]
