from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from dist_task.engine.operate import handle_exception, retry_exception
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from tests.commands.rows import fail_one, make_flow, status_of

pytestmark = pytest.mark.django_db


def test_open_exceptions_are_scheduled(run):
    record = fail_one("a", flow=make_flow())

    ran = run("replay_exceptions")

    assert (ran.code, ran.out) == (0, "1 exception retried, 0 failed\n")
    record.refresh_from_db()
    assert record.status == "retrying"
    assert record.retry_next_at > timezone.now()
    assert status_of("a") == "pending"


def test_a_dry_run_changes_nothing(run):
    record = fail_one("a", flow=make_flow())

    ran = run("replay_exceptions", "--dry-run")

    assert f"would retry {record.pk} (a_pay, orders v1: TIMEOUT)\n" in ran.out
    record.refresh_from_db()
    assert record.status == "open"


def test_a_delay_replaces_the_interval(run):
    record = fail_one("a", flow=make_flow())

    run("replay_exceptions", "--delay", "3600")

    record.refresh_from_db()
    assert record.retry_next_at > timezone.now() + timedelta(minutes=50)


@pytest.mark.parametrize(
    "words",
    [
        ["--error-code", "REFUSED"],
        ["--error", "by the bank"],
        ["--flow-name", "orders", "--error-code", "REFUSED"],
        ["--task", "pay", "--error", "refused"],
    ],
)
def test_filters_select(run, words):
    flow = make_flow()
    refused = fail_one("a", flow=flow, message="refused by the bank", code="REFUSED")
    fail_one("b", flow=flow)
    fail_one("c", flow=make_flow(name="refunds"))

    run("replay_exceptions", *words)

    assert [record.pk for record in ExceptionRecord.objects.filter(status="retrying")] == [refused.pk]


def test_ids_are_retried_and_what_is_wrong_with_others_is_told(run):
    flow = make_flow()
    first, second = fail_one("a", flow=flow), fail_one("b", flow=flow)
    handle_exception(second.pk, actor="tester")

    ran = run("replay_exceptions", "--ids", f"{first.pk},{second.pk},999999999")

    assert ran.code == 1
    assert f"{second.pk}: does not match the filters (its status is handled)" in ran.err
    assert "999999999: not found" in ran.err
    assert ran.out == "1 exception retried, 2 failed\n"


def test_handled_no_takes_retrying_ones_too(run):
    record = fail_one("a", flow=make_flow())
    retry_exception(record.pk, actor="tester", delay_seconds=600)

    assert run("replay_exceptions").out.startswith("0 exceptions ")
    assert run("replay_exceptions", "--handled", "no", "--delay", "0").out.startswith("1 exception ")


def test_a_time_replaces_the_interval(run):
    record = fail_one("a", flow=make_flow())
    at = (timezone.now() + timedelta(hours=5)).isoformat()

    run("replay_exceptions", "--at", at)

    record.refresh_from_db()
    assert record.retry_next_at.isoformat() == at


def test_another_input_replaces_what_the_task_had(run):
    record = fail_one("a", flow=make_flow())

    ran = run("replay_exceptions", "--ids", str(record.pk), "--input", '{"amount": 7}')

    assert (ran.code, TaskRun.objects.get(pk=record.run_id).input) == (0, {"amount": 7})
    assert run("replay_exceptions", "--ids", str(record.pk), "--input", "[]").code == 1
    assert run("replay_exceptions", "--ids", str(record.pk), "--input", "{").code != 0


def test_no_retry_needs_force(run):
    fail_one("a", flow=make_flow(strategy="no_retry"))

    refused = run("replay_exceptions")

    assert refused.code == 1
    assert "must not be retried" in refused.err
    assert run("replay_exceptions", "--force").code == 0


def test_ids_that_are_no_numbers_are_wrong_arguments(run):
    assert run("replay_exceptions", "--ids", "1,two").code == 2
