from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from tests.commands.rows import fail_one, make_flow, start_one, status_of, succeed_one
from transactions.models import Transaction

pytestmark = pytest.mark.django_db
WHY = ("--remark", "the bank is down")


def paused() -> list[str]:
    return list(Transaction.objects.filter(paused=True).order_by("instance_id").values_list("instance_id", flat=True))


def test_what_goes_on_of_a_flow_is_paused_and_resumed(run):
    orders, refunds = make_flow(), make_flow(name="refunds")
    for instance_id, flow in (("a", orders), ("b", orders), ("c", refunds)):
        start_one(instance_id, flow=flow)
    fail_one("d", flow=refunds)

    ran = run("operate", "pause", "--flow-name", "orders", *WHY)

    assert (ran.code, ran.out, paused()) == (0, "2 transactions paused, 0 failed\n", ["a", "b"])
    assert run("operate", "pause", "--all", "--remark", "all").out == "1 transaction paused, 0 failed\n"
    assert run("operate", "resume", "--instance-id", "a", *WHY).out == "1 transaction resumed, 0 failed\n"
    assert paused() == ["b", "c"]
    log = ExecutionLog.objects.filter(event="paused").first()
    assert log is not None and (log.actor.startswith("command:"), log.message) == (True, "the bank is down")


@pytest.mark.parametrize(("verb", "task"), [("skip", "skipped"), ("complete", "success")])
def test_failed_tasks_are_settled(run, verb, task):
    flow = make_flow()
    refused = fail_one("a", flow=flow, code="REFUSED")
    fail_one("b", flow=flow)

    ran = run("operate", verb, "--error-code", "REFUSED", "--output", '{"n": 1}', *WHY)

    assert (ran.code, ran.out.split()[:2]) == (0, ["1", "exception"])
    stood = TaskRun.objects.get(pk=refused.run_id)
    assert (stood.status, stood.output) == (task, {"n": 1})
    assert (status_of("a"), status_of("b")) == ("pending", "failed")


def test_a_dry_run_changes_nothing(run):
    record = fail_one("a", flow=make_flow())
    start_one("b", flow=make_flow(name="refunds"))

    skip = run("operate", "skip", "--ids", str(record.pk), "--dry-run", *WHY)
    pause = run("operate", "pause", "--all", "--dry-run", *WHY)

    assert skip.out.startswith(f"would skip {record.pk} (a_pay, orders v1: TIMEOUT)\n1 exception would be skipped")
    assert "would pause b (refunds v1, pending)\n" in pause.out
    assert (ExceptionRecord.objects.get().status, paused()) == ("open", [])


def test_what_is_refused_is_told_and_the_others_are_done(run):
    flow = make_flow()
    doubtful, failed = fail_one("a", flow=flow), fail_one("b", flow=flow)
    TaskRun.objects.filter(pk=doubtful.run_id).update(maybe_executed=True)

    ran = run("operate", "skip", "--ids", f"{doubtful.pk},{failed.pk},999", *WHY)

    assert (ran.code, ran.out) == (1, "1 exception skipped, 2 failed\n")
    assert "may have been executed" in ran.err and "999: not found" in ran.err
    assert run("operate", "skip", "--ids", str(doubtful.pk), "--force", *WHY).code == 0


def test_transactions_are_cancelled(run):
    flow = make_flow()
    start_one("a", flow=flow)
    fail_one("b", flow=flow)
    succeed_one("c", flow=flow)

    assert run("operate", "cancel", "--flow-name", "orders", *WHY).out == "2 transactions cancelled, 0 failed\n"
    assert [status_of(each) for each in "abc"] == ["cancelled", "cancelled", "success"]
    assert run("operate", "cancel", "--instance-id", "c", *WHY).code == 1


def test_exceptions_are_handled_assigned_and_commented_on(run):
    User.objects.create_superuser("ana")
    first, second = (fail_one(each, flow=make_flow(name=each)) for each in "ab")

    assert run("operate", "assign", "--all", "--to", "ana", *WHY).out == "2 exceptions assigned, 0 failed\n"
    assert run("operate", "comment", "--ids", str(first.pk), *WHY).out == "1 exception commented on, 0 failed\n"
    done = run("operate", "handle", "--ids", str(first.pk), "--resolution", "ignored", *WHY)
    assert (done.code, done.out) == (0, "1 exception handled, 0 failed\n")

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.resolution, first.remark) == ("handled", "ignored", "the bank is down")
    assert (second.status, second.assignee) == ("open", "ana")
    events = ExecutionLog.objects.filter(actor__startswith="command:").order_by("id").values_list("event", flat=True)
    assert list(events) == ["assigned", "assigned", "commented", "handled"]
    assert run("operate", "assign", "--ids", str(second.pk), "--to", "nobody_here", *WHY).code == 1
    assert run("operate", "assign", "--ids", str(second.pk), *WHY).code != 0


def test_what_has_ended_is_run_again(run):
    flow = make_flow()
    succeed_one("a", flow=flow)
    fail_one("b", flow=flow)
    start_one("c", flow=flow)

    doubtful = run("operate", "rerun", "--flow-name", "orders", "--task", "pay", *WHY)
    forced = run("operate", "rerun", "--instance-id", "a", "--task", "pay", "--force", *WHY)
    again = run("operate", "rerun", "--all", *WHY)

    assert (doubtful.code, doubtful.out) == (1, "b runs again as b:r2\n1 transaction run again, 1 failed\n")
    assert "a (orders v1, success): pay may have done their work" in doubtful.err
    assert (forced.code, forced.out) == (0, "a runs again as a:r2\n1 transaction run again, 0 failed\n")
    assert again.out == "0 transactions run again, 0 failed\n", "what was run again goes on there"
    assert [status_of(each) for each in ("a:r2", "b:r2", "c")] == ["pending"] * 3


@pytest.mark.parametrize(
    "words",
    [
        ["rerun", "--all"],
        ["cancel", "--all"],
        ["handle", "--all", "--resolution", "whatever", *WHY],
        ["pause", "--all"],
        ["pause", "--all", "--remark", " "],
        ["pause", *WHY],
        ["skip", *WHY],
        ["skip", "--all", "--output", "{", *WHY],
        ["skip", "--ids", "two", *WHY],
        ["forget", "--all", *WHY],
    ],
)
def test_wrong_arguments_change_nothing(run, words):
    fail_one("a", flow=make_flow())
    start_one("b", flow=make_flow(name="refunds"))

    ran = run("operate", *words)

    assert ran.code != 0
    assert (ExceptionRecord.objects.get().status, paused()) == ("open", [])
