"""With the rule on, a batch awaits a second person; its frozen items, and nothing else, are done then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from dist_task.batches.models import Batch
from dist_task.engine import operate
from dist_task.engine.batches import verbs as batch_verbs
from dist_task.engine.batches.run import run_next
from dist_task.engine.four_eyes import verbs
from dist_task.engine.prune import prune_batches
from dist_task.errors import IllegalMove, InvalidRequest
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.models import ExecutionLog
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.batches.conftest import fail_many, make, results, run_all
from tests.batches.conftest import stored as stored_batch
from tests.commands import rows
from transactions.models import Transaction

from .conftest import let_time_pass, stored, undoing

pytestmark = pytest.mark.django_db
Rule = Callable[..., None]
OK = "all thirty are theirs"


def compensating(**values: object) -> Batch:
    return make("compensate", target="transactions", rows=Transaction.objects.all(), **values)


def test_nothing_of_it_is_done_before_somebody_else_approves(rule: Rule, flow: Flow) -> None:
    fail_many(3, flow=flow)

    batch = make()

    assert batch.status == "awaiting"
    assert run_next(batch.pk) is None
    assert set(results(batch).values()) == {"pending"}
    request = ApprovalRequest.objects.get()
    assert (request.act, request.batch_id, request.asked_by) == ("batch", batch.pk, "ana")


def test_exactly_what_was_frozen_is_done_once_it_is_approved(rule: Rule, flow: Flow) -> None:
    fail_many(3, flow=flow)
    batch = make()
    rows.fail_one("later", flow=rows.make_flow(name="others"))

    verbs.approve(ApprovalRequest.objects.get().pk, actor="bo", remark=OK)

    assert run_all(batch).done == 3
    assert ExceptionRecord.objects.get(transaction__instance_id="later").status == "open"
    log = list(batch.log.values_list("event", "actor", "message"))
    assert log == [("requested", "ana", "the bank is back"), ("approved", "bo", OK)]
    detail = batch.log.get(event="approved").detail
    assert (detail["asked_by"], detail["decided_by"]) == ("ana", "bo")


@pytest.mark.parametrize(
    ("verb", "actor", "event"), [(verbs.reject, "bo", "rejected"), (verbs.withdraw, "ana", "withdrawn")]
)
def test_one_that_is_rejected_or_withdrawn_never_begins(
    rule: Rule, flow: Flow, verb: Callable[..., object], actor: str, event: str
) -> None:
    fail_many(2, flow=flow)
    batch = make()

    verb(ApprovalRequest.objects.get().pk, actor=actor, remark="no")

    assert (stored_batch(batch).status, ApprovalRequest.objects.get().status) == ("cancelled", event)
    assert run_next(batch.pk) is None
    assert set(results(batch).values()) == {"pending"}
    assert list(batch.log.values_list("event", "actor"))[-1] == (event, actor)


def test_one_that_nobody_approves_in_time_never_begins(rule: Rule, flow: Flow) -> None:
    fail_many(2, flow=flow)
    batch = make()
    request = ApprovalRequest.objects.get()
    let_time_pass(request)

    with pytest.raises(IllegalMove, match="expired"):
        verbs.approve(request.pk, actor="bo", remark=OK)
    assert verbs.expire_overdue() == 1

    assert (stored_batch(batch).status, stored(request).status) == ("cancelled", "expired")
    assert list(batch.log.values_list("event", "actor"))[-1] == ("expired", "system")


@pytest.mark.parametrize("move", [batch_verbs.pause, batch_verbs.resume, batch_verbs.cancel])
def test_steering_is_no_way_around_it(rule: Rule, flow: Flow, move: Callable[..., object]) -> None:
    fail_many(1, flow=flow)
    batch = make()

    with pytest.raises(IllegalMove, match="awaiting a second person"):
        move(batch.pk, actor="bo", remark=OK)

    assert stored_batch(batch).status == "awaiting"


def test_who_asked_does_not_approve_it(rule: Rule, flow: Flow) -> None:
    fail_many(1, flow=flow)
    make(actor="command:ana")

    with pytest.raises(IllegalMove, match="another person"):
        verbs.approve(ApprovalRequest.objects.get().pk, actor="ana", remark=OK)


def test_nobody_without_a_name_makes_one(rule: Rule, flow: Flow) -> None:
    fail_many(1, flow=flow)

    with pytest.raises(InvalidRequest, match="has to know who you are"):
        make(actor="anonymous")

    assert not Batch.objects.exists()


@pytest.mark.parametrize("acts", [("batch",), ("compensate",), ("compensate", "batch")])
def test_a_batch_of_compensations_is_approved_once_under_either_name(
    rule: Rule, flow: Flow, acts: tuple[str, ...]
) -> None:
    for name in "ab":
        rows.succeed_one(name, flow=flow)
    rule(*acts)

    batch = compensating()
    assert (batch.status, undoing("a")) == ("awaiting", "none")
    verbs.approve(ApprovalRequest.objects.get().pk, actor="bo", remark=OK)

    assert run_all(batch).done == 2
    assert (undoing("a"), undoing("b")) == ("running", "running")
    assert ApprovalRequest.objects.count() == 1
    entry = ExecutionLog.objects.filter(event="compensating").first()
    assert entry is not None and (entry.actor, entry.detail["batch"]) == ("ana", batch.pk)


def test_with_compensation_alone_other_batches_begin_at_once(rule: Rule, flow: Flow) -> None:
    rule("compensate")
    fail_many(1, flow=flow)

    assert make().status == "running"
    assert not ApprovalRequest.objects.exists()


def test_an_item_is_judged_when_its_turn_comes(rule: Rule, flow: Flow) -> None:
    for name in "ab":
        rows.succeed_one(name, flow=flow)
    batch = compensating()
    verbs.approve(ApprovalRequest.objects.get().pk, actor="bo", remark=OK)
    rule()

    operate.compensate_transaction("a", actor="cleo", remark="why")

    ended = run_all(batch)

    assert (ended.done, ended.refused) == (1, 1)


def test_a_batch_that_awaits_somebody_is_not_pruned_and_goes_with_its_request_later(rule: Rule, flow: Flow) -> None:
    fail_many(1, flow=flow)
    batch = make()
    after = batch.created_at + timedelta(seconds=1)

    assert prune_batches(before=after, limit=10) == 0
    verbs.reject(ApprovalRequest.objects.get().pk, actor="bo", remark="no")
    assert prune_batches(before=after, limit=10) == 1

    assert not ApprovalRequest.objects.exists()
