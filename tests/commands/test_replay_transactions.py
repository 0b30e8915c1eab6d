from __future__ import annotations

from datetime import timedelta

import pytest

from dist_task.engine.operate import compensate_transaction
from dist_task.models import ExecutionLog
from tests.commands.rows import fail_one, make_flow, make_older, status_of, succeed_one

pytestmark = pytest.mark.django_db


def test_all_failed_transactions_become_due_again(run):
    flow = make_flow()
    fail_one("a", flow=flow)
    fail_one("b", flow=flow)
    succeed_one("c", flow=flow)

    ran = run("replay_transactions")

    assert (ran.code, ran.out, ran.err) == (0, "2 transactions retried, 0 failed\n", "")
    assert [status_of(each) for each in "abc"] == ["pending", "pending", "success"]


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(run):
    fail_one("a", flow=make_flow())

    ran = run("replay_transactions", "--dry-run")

    assert ran.out == "would retry a (orders v1, failed)\n1 transaction would be retried, 0 failed\n"
    assert status_of("a") == "failed"
    assert not ExecutionLog.objects.filter(event="retried").exists()


def test_what_is_undone_is_not_retried(run):
    fail_one("a", flow=make_flow())
    compensate_transaction("a", actor="ada", remark="why")

    ran = run("replay_transactions")

    assert ran.out == "0 transactions retried, 0 failed\n"
    assert status_of("a") == "failed"


def test_the_log_says_who_asked_and_why(run):
    fail_one("a", flow=make_flow())

    run("replay_transactions", "--remark", "the bank is back")

    entry = ExecutionLog.objects.get(event="retried")
    assert entry.actor.startswith("command:")
    assert entry.message == "the bank is back"


def test_filters_by_flow_name_and_flow_id(run):
    orders, refunds = make_flow(name="orders"), make_flow(name="refunds")
    fail_one("a", flow=orders)
    fail_one("b", flow=refunds)

    run("replay_transactions", "--flow-name", "orders")
    assert (status_of("a"), status_of("b")) == ("pending", "failed")

    run("replay_transactions", "--flow", refunds.pk)
    assert status_of("b") == "pending"


def test_filters_by_the_text_of_open_exceptions(run):
    flow = make_flow()
    fail_one("a", flow=flow, message="connection refused by bank 7")
    fail_one("b", flow=flow, message="100%_wrong")

    run("replay_transactions", "--error", "BANK 7")
    assert (status_of("a"), status_of("b")) == ("pending", "failed")

    assert run("replay_transactions", "--error", "%_w").out.startswith("1 transaction ")


def test_filters_by_the_time_of_creation(run):
    flow = make_flow()
    fail_one("old", flow=flow)
    fail_one("new", flow=flow)
    make_older("old", by=timedelta(days=400))

    assert run("replay_transactions", "--created-before", "2000-01-01").out.startswith("0 transactions ")
    ran = run("replay_transactions", "--created-after", "2000-01-01T00:00:00Z", "--limit", "1")

    assert ran.out.startswith("1 transaction ")
    assert (status_of("old"), status_of("new")) == ("pending", "failed")


def test_ids_come_from_options_and_from_a_file(run, tmp_path):
    flow = make_flow()
    for each in "abc":
        fail_one(each, flow=flow)
    ids = tmp_path / "ids"
    ids.write_text("# these\nb\n\nb\n")

    ran = run("replay_transactions", "--instance-id", "a", "--ids-file", str(ids))

    assert ran.out.startswith("2 transactions ")
    assert [status_of(each) for each in "abc"] == ["pending", "pending", "failed"]


def test_names_that_cannot_be_retried_are_told_and_the_others_done(run):
    flow = make_flow()
    fail_one("a", flow=flow)
    succeed_one("b", flow=flow)

    words = [word for each in ("a", "b", "nobody") for word in ("--instance-id", each)]
    ran = run("replay_transactions", *words)

    assert ran.code == 1
    assert "b: does not match the filters (its status is success)" in ran.err
    assert "nobody: not found" in ran.err
    assert ran.out == "1 transaction retried, 2 failed\n"
    assert status_of("a") == "pending"


def test_what_the_engine_refuses_is_a_partial_failure_with_its_reason(run):
    succeed_one("a", flow=make_flow())

    ran = run("replay_transactions", "--status", "success")

    assert ran.code == 1
    assert "only a failed transaction can be retried" in ran.err


@pytest.mark.parametrize("words", [["--flow", "nosuchflow"], ["--ids-file", "/nowhere/ids"]])
def test_wrong_arguments_end_with_code_2(run, words):
    assert run("replay_transactions", *words).code == 2


def test_the_number_of_queries_to_select_does_not_grow(run, django_assert_max_num_queries):
    flow = make_flow()
    for number in range(12):
        fail_one(f"n{number}", flow=flow)
    words = [word for number in range(12) for word in ("--instance-id", f"n{number}")]

    with django_assert_max_num_queries(3):
        run("replay_transactions", "--dry-run")
    with django_assert_max_num_queries(3):
        run("replay_transactions", "--dry-run", *words)


def test_a_file_of_ids_that_is_no_text_is_a_wrong_argument(run, tmp_path):
    ids = tmp_path / "ids"
    ids.write_bytes(b"a\0b\n")

    assert run("replay_transactions", "--ids-file", str(ids)).code == 2
