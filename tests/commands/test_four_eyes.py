"""Commands under the four-eyes rule: they ask, say what they wait for, and end with 3."""

from __future__ import annotations

import pytest

from dist_task.batches.models import Batch
from dist_task.engine.four_eyes import verbs
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.management import replay
from tests.batches.conftest import fail_many, run_all
from tests.commands import rows
from tests.four_eyes.conftest import log_of, rule, undoable, undoing

__all__ = ["rule"]  # a fixture
pytestmark = pytest.mark.django_db
WHY = ("--remark", "the shop is closed")


def test_without_the_rule_compensation_begins(run) -> None:
    flow = undoable()
    for name in ("i1", "i2"):
        rows.succeed_one(name, flow=flow)
    rows.start_one("goes-on", flow=rows.make_flow(name="others"))

    ran = run("operate", "compensate", "--flow-name", "undoable", *WHY)

    assert (ran.code, ran.out) == (0, "2 transactions compensated, 0 failed\n")
    assert (undoing("i1"), undoing("i2")) == ("running", "running")
    assert run("operate", "compensate", "--all", *WHY).out == "0 transactions compensated, 0 failed\n"


def test_compensation_is_asked_for_and_the_code_says_so(run, rule) -> None:
    rows.succeed_one("i1", flow=undoable())

    ran = run("operate", "compensate", "--instance-id", "i1", *WHY)

    request = ApprovalRequest.objects.get()
    assert (ran.code, ran.out) == (3, "1 transaction asked for, 0 failed\n")
    assert f"1 transaction (asked for by {request.asked_by}): nothing is done before a second person" in ran.err
    assert (undoing(), request.remark) == ("none", "the shop is closed")
    assert request.asked_by.startswith("command:")
    verbs.approve(request.pk, actor="bo", remark="yes")
    assert (undoing(), log_of()[-1][1]) == ("running", request.asked_by)


def test_what_is_refused_is_a_failure_as_ever(run, rule) -> None:
    rows.succeed_one("i1", flow=undoable())
    run("operate", "compensate", "--all", *WHY)

    ran = run("operate", "compensate", "--instance-id", "i1", *WHY)

    assert (ran.code, ran.out) == (1, "0 transactions asked for, 1 failed\n")
    assert "already, and awaits a second person" in ran.err


def test_a_dry_run_asks_nobody(run, rule) -> None:
    rows.succeed_one("i1", flow=undoable())

    ran = run("operate", "compensate", "--all", "--dry-run", *WHY)

    assert (ran.code, ran.out.splitlines()[-1]) == (0, "1 transaction would be compensated, 0 failed")
    assert not ApprovalRequest.objects.exists()


@pytest.mark.parametrize("more", [(), ("--no-wait",)])
def test_a_batch_is_asked_for_and_not_waited_for(run, rule, more: tuple[str, ...]) -> None:
    fail_many(3, flow=undoable())

    ran = run("replay_exceptions", "--batch", "--delay", "0", *WHY, *more)

    batch = Batch.objects.get()
    assert (ran.code, ran.out) == (3, f"batch {batch.pk}: 3 exceptions\n")
    assert f"batch {batch.pk} (request {ApprovalRequest.objects.get()}, until " in ran.err
    assert "nothing is done before a second person approves it" in ran.err
    assert batch.status == "awaiting"
    verbs.approve(ApprovalRequest.objects.get().pk, actor="bo", remark="yes")
    assert run_all(batch).done == 3


def test_many_rows_are_a_batch_also_where_nobody_works(run, rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MANY", 2)
    fail_many(3, flow=undoable())

    assert run("replay_transactions", *WHY).code == 3

    assert Batch.objects.get().status == "awaiting"


def test_a_batch_needs_a_reason_then(run, rule) -> None:
    fail_many(1, flow=undoable())

    ran = run("replay_exceptions", "--batch")

    assert (ran.code, "a second person has to know why" in ran.err) == (2, True)
    assert not Batch.objects.exists()
