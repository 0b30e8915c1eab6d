"""With the rule on, a person's compensation is only asked for; a second person has it carried out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from dist_task.engine import operate
from dist_task.engine.four_eyes import verbs
from dist_task.engine.prune import prune
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.models import ExecutionLog
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.commands import rows
from transactions.models import Transaction

from .conftest import WHY, ask, asked, let_time_pass, log_of, stored, undoing

pytestmark = pytest.mark.django_db
Rule = Callable[..., None]
OK = "I have seen the parcel"


def test_without_the_rule_it_is_done_at_once(flow: Flow) -> None:
    txn = rows.succeed_one("i1", flow=flow)

    after = operate.compensate_transaction("i1", actor="ana", remark="why")

    assert after.compensation == "running"
    assert operate.awaiting_request(txn) is None
    assert not ApprovalRequest.objects.exists()


def test_what_is_asked_for_is_kept_and_changes_nothing(rule: Rule, flow: Flow) -> None:
    request = asked(flow)

    assert (request.act, request.status, request.asked_by, request.remark) == ("compensate", "awaiting", "ana", WHY)
    assert request.expires_at - request.asked_at == timedelta(hours=24)
    txn = Transaction.objects.get()
    assert (txn.compensation, txn.revision, txn.wake_at) == ("none", 0, None)
    assert log_of() == [("requested", "ana", WHY)]


def test_a_second_person_has_it_carried_out_and_the_log_names_both(rule: Rule, flow: Flow) -> None:
    request = asked(flow)

    approved = verbs.approve(request.pk, actor="bo", remark=OK)

    assert (approved.status, approved.decided_by, approved.decision_remark) == ("approved", "bo", OK)
    assert undoing() == "running"
    assert log_of() == [("requested", "ana", WHY), ("approved", "bo", OK), ("compensating", "ana", WHY)]
    both = {"asked_by": "ana", "request": request.pk}
    details = ExecutionLog.objects.filter(task_id="").order_by("id").values_list("detail", flat=True)
    assert both.items() <= details[1].items() and details[1]["decided_by"] == "bo"
    assert both.items() <= details[2].items() and details[2]["approved_by"] == "bo"


@pytest.mark.parametrize(
    ("asker", "decider"), [("ana", "ana"), ("command:ana", "ana"), ("ana", "command:ana"), ("command:a", "command:a")]
)
@pytest.mark.parametrize("verb", [verbs.approve, verbs.reject])
def test_who_asked_does_not_decide(
    rule: Rule, flow: Flow, asker: str, decider: str, verb: Callable[..., object]
) -> None:
    request = asked(flow, actor=asker)

    with pytest.raises(IllegalMove, match="another person has to decide it"):
        verb(request.pk, actor=decider, remark=OK)

    assert (stored(request).status, undoing()) == ("awaiting", "none")


@pytest.mark.parametrize("nobody", ["anonymous", ""])
def test_who_has_no_name_neither_asks_nor_decides(rule: Rule, flow: Flow, nobody: str) -> None:
    request = asked(flow)
    rows.succeed_one("i2", flow=flow)

    for attempt in (
        lambda: ask("i2", actor=nobody),
        lambda: verbs.approve(request.pk, actor=nobody, remark=OK),
        lambda: verbs.reject(request.pk, actor=nobody, remark=OK),
        lambda: verbs.withdraw(request.pk, actor=nobody),
    ):
        with pytest.raises(InvalidRequest, match="has to know who you are"):
            attempt()

    assert (ApprovalRequest.objects.count(), stored(request).status) == (1, "awaiting")


def test_a_rejected_request_is_over_and_another_may_be_made(rule: Rule, flow: Flow) -> None:
    request = asked(flow)

    verbs.reject(request.pk, actor="bo", remark="they keep it")

    assert (stored(request).status, undoing()) == ("rejected", "none")
    assert log_of()[-1] == ("rejected", "bo", "they keep it")
    with pytest.raises(IllegalMove, match="decided already: rejected by bo"):
        verbs.approve(request.pk, actor="cleo", remark=OK)
    assert ask().pk != request.pk


def test_who_asked_withdraws_it_and_nobody_else_does(rule: Rule, flow: Flow) -> None:
    request = asked(flow)

    with pytest.raises(IllegalMove, match="only ana, who asked for it"):
        verbs.withdraw(request.pk, actor="bo")
    verbs.withdraw(request.pk, actor="ana", remark="a mistake")

    assert (stored(request).status, log_of()[-1]) == ("withdrawn", ("withdrawn", "ana", "a mistake"))
    with pytest.raises(IllegalMove, match="withdrawn by ana"):
        verbs.approve(request.pk, actor="bo", remark=OK)


@pytest.mark.parametrize("verb", [verbs.approve, verbs.reject])
@pytest.mark.parametrize(("remark", "said"), [("", "say why"), (" \n", "say why"), ("x" * 2_001, "at most 2000")])
def test_a_decision_needs_a_reason(rule: Rule, flow: Flow, verb: Callable[..., object], remark: str, said: str) -> None:
    request = asked(flow)

    with pytest.raises(InvalidRequest, match=said):
        verb(request.pk, actor="bo", remark=remark)

    assert stored(request).status == "awaiting"


@pytest.mark.parametrize(("remark", "said"), [("", "say why"), ("x" * 2_001, "at most 2000")])
def test_asking_needs_a_reason_as_well(rule: Rule, flow: Flow, remark: str, said: str) -> None:
    rows.succeed_one("i1", flow=flow)

    with pytest.raises(InvalidRequest, match=said):
        operate.compensate_transaction("i1", actor="ana", remark=remark)

    assert not ApprovalRequest.objects.exists()


def test_it_is_asked_for_once_at_a_time(rule: Rule, flow: Flow) -> None:
    asked(flow)

    with pytest.raises(IllegalMove, match="was asked for by ana already"):
        operate.compensate_transaction("i1", actor="bo", remark=WHY)

    assert ApprovalRequest.objects.count() == 1


def test_what_cannot_be_undone_is_not_asked_for(rule: Rule, flow: Flow) -> None:
    rows.start_one("i1", flow=flow)

    with pytest.raises(IllegalMove, match="cannot be compensated now"):
        operate.compensate_transaction("i1", actor="ana", remark=WHY)
    with pytest.raises(NotFound):
        operate.compensate_transaction("nobody", actor="ana", remark=WHY)

    assert not ApprovalRequest.objects.exists()


def test_an_old_request_is_not_carried_out(rule: Rule, flow: Flow) -> None:
    request = asked(flow)
    let_time_pass(request)

    with pytest.raises(IllegalMove, match="expired at .*: ask again"):
        verbs.approve(request.pk, actor="bo", remark=OK)
    assert undoing() == "none"

    assert verbs.expire_overdue() == 1
    assert (stored(request).status, stored(request).decided_by) == ("expired", "system")
    assert log_of()[-1] == ("expired", "system", "")
    assert verbs.expire_overdue() == 0


def test_the_time_is_a_setting(rule: Rule, flow: Flow) -> None:
    rule("compensate", FOUR_EYES_HOURS=0.5)

    request = asked(flow)

    assert request.expires_at - request.asked_at == timedelta(minutes=30)


def test_what_expired_may_be_asked_for_again_before_anybody_wrote_so(rule: Rule, flow: Flow) -> None:
    old = asked(flow)
    let_time_pass(old)

    again = ask(actor="bo")

    assert (stored(old).status, again.status, again.asked_by) == ("expired", "awaiting", "bo")
    assert [entry[0] for entry in log_of()] == ["requested", "expired", "requested"]


def repair(record: ExceptionRecord) -> None:
    """Retried, and a success this time."""
    operate.retry_exception(record.pk, actor="cleo", delay_seconds=0)
    rows.attempt(
        record.transaction.instance_id, ended=rows.batch.Ended("pay", 2, "success", "succeeded"), finish="success"
    )


def test_what_was_repaired_meanwhile_is_not_undone(rule: Rule, flow: Flow) -> None:
    record = rows.fail_one("i1", flow=flow)
    request = ask()
    repair(record)
    assert rows.status_of("i1") == "success"

    with pytest.raises(IllegalMove, match="has gone on since this was asked for"):
        verbs.approve(request.pk, actor="bo", remark=OK)

    assert (stored(request).status, undoing()) == ("awaiting", "none")
    assert "has gone on" in verbs.why_not_now(stored(request))
    assert "approved" not in [entry[0] for entry in log_of()]


def test_what_goes_on_just_now_is_not_undone(rule: Rule, flow: Flow) -> None:
    rows.fail_one("i1", flow=flow)
    request = ask()
    operate.retry_transaction("i1", actor="cleo")

    with pytest.raises(IllegalMove, match="i1 is pending, .* cannot be compensated now"):
        verbs.approve(request.pk, actor="bo", remark=OK)

    assert (stored(request).status, undoing()) == ("awaiting", "none")


def test_what_was_run_again_meanwhile_is_not_undone_before_that(rule: Rule, flow: Flow) -> None:
    rows.fail_one("i1", flow=flow)
    request = ask()
    operate.rerun_transaction("i1", actor="cleo", remark="with another name")

    with pytest.raises(IllegalMove, match="compensate that one first"):
        verbs.approve(request.pk, actor="bo", remark=OK)

    assert (stored(request).status, undoing()) == ("awaiting", "none")


def test_a_request_that_the_transaction_has_gone_on_from_does_not_block_another(rule: Rule, flow: Flow) -> None:
    record = rows.fail_one("i1", flow=flow)
    old = ask()
    repair(record)

    again = ask(actor="bo")

    assert (stored(old).status, again.arguments["status"]) == ("expired", "success")
    verbs.approve(again.pk, actor="ana", remark=OK)
    assert undoing() == "running"


def test_a_failed_compensation_is_asked_for_like_any_other(rule: Rule) -> None:
    rule()
    rows.fail_undoing("i1", flow=rows.make_flow())
    rule("compensate")

    request = ask()
    assert undoing() == "failed"
    verbs.approve(request.pk, actor="bo", remark=OK)

    assert undoing() == "running"
    assert log_of()[-1][:2] == ("retried", "ana")


def test_what_awaits_stays_so_when_the_rule_is_switched_off(rule: Rule, flow: Flow) -> None:
    request = asked(flow)
    rule()

    with pytest.raises(IllegalMove, match="another person"):
        verbs.approve(request.pk, actor="ana", remark=OK)
    operate.compensate_transaction("i1", actor="ana", remark="why")

    assert undoing() == "running"
    assert operate.awaiting_request(Transaction.objects.get()) is None
    with pytest.raises(IllegalMove, match="cannot be compensated now"):
        verbs.approve(request.pk, actor="bo", remark=OK)


def test_what_awaits_a_second_person_is_not_pruned_and_goes_with_its_transaction_later(rule: Rule, flow: Flow) -> None:
    request = asked(flow)
    rows.make_older("i1", by=timedelta(days=90))
    before = request.asked_at - timedelta(days=30)

    assert prune(before=before, statuses=["success"], limit=10) == 0
    verbs.reject(request.pk, actor="bo", remark="they keep it")
    assert prune(before=before, statuses=["success"], limit=10) == 1

    assert not ApprovalRequest.objects.exists()


def test_nobody_decides_what_is_not_there(rule: Rule) -> None:
    for verb in (verbs.approve, verbs.reject, verbs.withdraw):
        with pytest.raises(NotFound):
            verb(7, actor="bo", remark=OK)


def test_the_database_refuses_an_approval_by_the_asker(rule: Rule, flow: Flow) -> None:
    request = asked(flow)

    with pytest.raises(IntegrityError, match="two_people"), transaction.atomic():
        ApprovalRequest.objects.filter(pk=request.pk).update(
            status="approved", decided_by="ana", decided_at=request.asked_at
        )


def test_a_child_that_a_rerun_stands_on_is_neither_asked_for_nor_carried_out(rule: Rule, flow: Flow) -> None:
    parent = rows.succeed_one("order", flow=flow)
    request = asked(flow)
    Transaction.objects.filter(instance_id="i1").update(parent=parent, parent_task_id="pay", parent_op="action")
    operate.rerun_transaction("order", actor="ana", remark=WHY, force=True)

    with pytest.raises(IllegalMove, match="run again as order:r2, which stands on it"):
        verbs.approve(request.pk, actor="bo", remark=OK)
    verbs.withdraw(request.pk, actor="ana")
    with pytest.raises(IllegalMove, match="run again as order:r2, which stands on it"):
        ask()

    assert stored(request).status == "withdrawn"
    assert undoing() == "none"
