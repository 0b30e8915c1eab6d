"""The operators' verbs beyond the document: pause, resume, skip, complete, assign, comment, and more of retry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from dist_task.models import ExecutionLog
from dist_task.wire import wire_time
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.api.conftest import Api, as_role
from tests.commands.rows import fail_one, make_flow, start_one, succeed_one, wait_one
from transactions.models import Transaction

EXCEPTIONS = "/api/v1/exceptions"
TRANSACTIONS = "/api/v1/transactions"
TASK = {"task_id": "pay"}
WHY = {"remark": "the bank is down"}


def operator(name: str) -> None:
    User.objects.create_user(name).groups.add(Group.objects.get(name="operator"))


def test_a_transaction_is_paused_and_resumed(api: Api) -> None:
    start_one("i1", flow=make_flow())

    paused = api.post(f"{TRANSACTIONS}/i1/pause", WHY)

    assert paused.data == {"instance_id": "i1", "status": "pending", "paused": True}
    assert api.get(f"{TRANSACTIONS}/i1").data["paused"] is True
    again = api.post(f"{TRANSACTIONS}/i1/pause", WHY)
    assert (again.status, again.message) == (400, "i1 is paused already")
    assert api.post(f"{TRANSACTIONS}/i1/resume", WHY).data["paused"] is False
    assert api.post(f"{TRANSACTIONS}/i1/resume", WHY).status == 400
    events = ExecutionLog.objects.filter(event__in=("paused", "resumed")).values_list("actor", "message")
    assert list(events) == [("anonymous", "the bank is down")] * 2


def test_the_list_says_which_are_paused_and_finds_them(api: Api) -> None:
    flow = make_flow()
    start_one("i1", flow=flow)
    start_one("i2", flow=flow)
    api.post(f"{TRANSACTIONS}/i2/pause", WHY)

    def found(query: str) -> list[str]:
        return [each["instance_id"] for each in api.get(f"{TRANSACTIONS}?{query}").data["list"]]

    assert (found("paused=true"), found("paused=false")) == (["i2"], ["i1"])
    assert api.get(f"{TRANSACTIONS}?paused=maybe").fields == {"paused"}


@pytest.mark.parametrize(
    ("verb", "resolution", "task"), [("skip", "skipped", "skipped"), ("complete", "fixed_externally", "success")]
)
def test_a_failed_task_is_skipped_or_completed(api: Api, verb: str, resolution: str, task: str) -> None:
    record = fail_one("i1", flow=make_flow())

    answer = api.post(f"{EXCEPTIONS}/{record.pk}/{verb}", {**WHY, "output": {"n": 1}})

    assert answer.data == {
        "exception_id": record.pk,
        "handled": True,
        "resolution": resolution,
        "task_status": task,
        "instance_id": "i1",
        "status": "pending",
    }
    assert api.get(f"{TRANSACTIONS}/i1/tasks").data["list"][0]["output"] == {"n": 1}
    again = api.post(f"{EXCEPTIONS}/{record.pk}/{verb}", WHY)
    assert (again.status, "was handled by anonymous already" in again.message) == (400, True)


def test_a_wait_is_completed_by_the_name_of_its_task(api: Api) -> None:
    wait_one("i1", flow=make_flow(), waits_for="callback")

    body = {**WHY, "task_id": "pay", "output": None}
    answer = api.post(f"{TRANSACTIONS}/i1/complete", body)

    assert answer.data == {"instance_id": "i1", "status": "running"}
    assert "came first" in api.post(f"{TRANSACTIONS}/i1/complete", body).message
    assert api.post(f"{TRANSACTIONS}/i1/complete", {**body, "task_id": "x"}).status == 400
    assert api.post(f"{TRANSACTIONS}/none/complete", body).status == 404


def test_an_exception_is_assigned_and_found_by_who_has_it(api: Api) -> None:
    operator("ann")
    record = fail_one("i1", flow=make_flow())
    fail_one("i2", flow=make_flow(name="other"))

    assert api.post(f"{EXCEPTIONS}/{record.pk}/assign", {**WHY, "assignee": "ann"}).data == {
        "exception_id": record.pk,
        "assignee": "ann",
    }
    assert [each["id"] for each in api.get(f"{EXCEPTIONS}?assignee=ann").data["list"]] == [record.pk]
    assert api.get(f"{EXCEPTIONS}/{record.pk}").data["assignee"] == "ann"
    assert "assigned to ann" in api.post(f"{EXCEPTIONS}/{record.pk}/assign", {**WHY, "assignee": ""}).message
    assert api.post(f"{EXCEPTIONS}/{record.pk}/assign", {**WHY, "assignee": "", "force": True}).data["assignee"] == ""
    assert api.post(f"{EXCEPTIONS}/{record.pk}/assign", {**WHY, "assignee": "nobody"}).status == 400


def test_comments_are_shown_with_the_exception(api: Api) -> None:
    record = fail_one("i1", flow=make_flow())
    other = fail_one("i2", flow=make_flow(name="other"))
    api.post(f"{EXCEPTIONS}/{other.pk}/comment", {"remark": "elsewhere"})

    for remark in ("called the bank", "they look into it"):
        answer = api.post(f"{EXCEPTIONS}/{record.pk}/comment", {"remark": remark})

    assert answer.data == api.get(f"{EXCEPTIONS}/{record.pk}").data
    assert [(each["actor"], each["remark"]) for each in answer.data["comments"]] == [
        ("anonymous", "called the bank"),
        ("anonymous", "they look into it"),
    ]


def test_a_retry_takes_a_time_and_another_input(api: Api) -> None:
    record = fail_one("i1", flow=make_flow())
    at = wire_time(timezone.now() + timedelta(hours=2))

    answer = api.post(f"{EXCEPTIONS}/{record.pk}/retry", {"at": at, "input": {"n": 2}})

    assert answer.data == {"exception_id": record.pk, "retry_scheduled": True, "retry_next_at": at}
    assert api.get(f"{TRANSACTIONS}/i1/tasks").data["list"][0]["input"] == {"n": 2}


@pytest.mark.parametrize(
    "body",
    [
        {"at": "tomorrow"},
        {"at": 1},
        {"at": "2030-01-01T00:00:00"},
        {"at": "2030-13-01T00:00:00Z"},
        {"at": "2000-01-01T00:00:00Z"},
        {"at": "2999-01-01T00:00:00Z"},
        {"at": None},
        {"input": None},
        {"input": []},
        {"input": "x"},
        {"delay": 0, "at": wire_time(timezone.now() + timedelta(hours=1))},
    ],
)
def test_a_bad_time_or_input_of_a_retry_is_400_and_changes_nothing(api: Api, body: object) -> None:
    record = fail_one("i1", flow=make_flow())

    assert api.post(f"{EXCEPTIONS}/{record.pk}/retry", body).status == 400
    assert ExceptionRecord.objects.get().status == "open"


OF_TRANSACTIONS = ("pause", "resume", "cancel", "compensate", "approve", "reject", "complete-wait")


@pytest.mark.parametrize("verb", ["skip", "complete", "assign", "comment", *OF_TRANSACTIONS])
@pytest.mark.parametrize("body", [None, {}, {"remark": " "}, {"remark": None}, {"remark": "x" * 2001}, {"why": "x"}])
def test_without_a_reason_it_is_400_and_changes_nothing(api: Api, verb: str, body: Any) -> None:
    record = fail_one("i1", flow=make_flow())
    wait_one("i2", flow=make_flow(name="other"), waits_for="callback")
    of = f"{TRANSACTIONS}/i2" if verb in OF_TRANSACTIONS else f"{EXCEPTIONS}/{record.pk}"
    more = {"complete-wait": TASK, "approve": TASK, "reject": TASK, "assign": {"assignee": ""}}.get(verb, {})
    rows = ExecutionLog.objects.count()

    answer = api.post(f"{of}/{verb.removesuffix('-wait')}", None if body is None else {**body, **more})

    assert (answer.status, "remark" in answer.fields) == (400, True)
    assert ExecutionLog.objects.count() == rows


@pytest.mark.parametrize("body", [{"output": {"a": "\0"}}, {"force": 1}, {"output": 2**70}, {"x": 1}])
def test_a_bad_body_of_skip_is_400_and_changes_nothing(api: Api, body: dict[str, Any]) -> None:
    record = fail_one("i1", flow=make_flow())

    assert api.post(f"{EXCEPTIONS}/{record.pk}/skip", {**WHY, **body}).status == 400
    assert ExceptionRecord.objects.get().status == "open"


@pytest.mark.parametrize("verb", ["skip", "complete", "assign", "comment"])
@pytest.mark.parametrize("number", ["0", "x", "9" * 30, "1.0"])
def test_an_unknown_or_malformed_id_is_404(api: Api, verb: str, number: str) -> None:
    assert api.post(f"{EXCEPTIONS}/{number}/{verb}", {**WHY, "assignee": ""} if verb == "assign" else WHY).status == 404


def test_the_actor_is_the_user_of_the_token(db: None, closed: None) -> None:
    record = fail_one("i1", flow=make_flow())

    as_role("supervisor").post(f"{EXCEPTIONS}/{record.pk}/skip", WHY)

    record.refresh_from_db()
    assert record.handled_by == "supervisor-user"
    assert Transaction.objects.get().status == "pending"


def two_steps(name: str = "two") -> Flow:
    tasks = [{"id": "pay", "type": "noop"}, {"id": "ship", "type": "noop", "depends_on": ["pay"]}]
    return register(name=name, flow_type="test", definition={"tasks": tasks}, create_user="tester")


def test_an_ended_transaction_is_run_again(api: Api) -> None:
    flow = make_flow()
    succeed_one("i1", flow=flow)

    plan = api.get(f"{TRANSACTIONS}/i1/rerun?tasks=pay")
    refused = api.post(f"{TRANSACTIONS}/i1/rerun", {**WHY, "tasks": ["pay"]})
    made = api.post(f"{TRANSACTIONS}/i1/rerun", {**WHY, "tasks": ["pay"], "force": True})

    assert plan.data == {"instance_id": "i1", "runs": ["pay"], "carried_over": [], "done_again": ["pay"]}
    assert (refused.status, "force overrides that" in refused.message) == (400, True)
    assert made.data == {"instance_id": "i1:r2", "flow_id": flow.pk, "status": "pending", "rerun_of": "i1"}
    first, second = (api.get(f"{TRANSACTIONS}/{each}").data for each in ("i1", "i1:r2"))
    assert (first["rerun_of"], first["rerun_as"], second["rerun_of"], second["rerun_as"]) == (None, "i1:r2", "i1", None)
    refused = api.post(f"{TRANSACTIONS}/i1/rerun", {**WHY, "force": True})
    assert refused.message == "i1 was run again as i1:r2: go on there"


def test_the_plan_tells_what_is_carried_over(api: Api) -> None:
    """A transaction of two steps whose first one was skipped by hand, so that it has an outcome."""
    flow = two_steps()
    fail_one("i1", flow=flow)

    plan = api.get(f"{TRANSACTIONS}/i1/rerun?tasks=pay").data
    other = api.get(f"{TRANSACTIONS}/i1/rerun?tasks=ship")

    assert (plan["runs"], plan["carried_over"], plan["done_again"]) == (["pay", "ship"], [], [])
    assert (other.status, "pay did not succeed either" in other.message) == (400, True)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "remark"),
        ({"remark": ""}, 400, "remark"),
        ({**WHY, "tasks": ["nobody"]}, 400, "tasks[0]"),
        ({**WHY, "tasks": "pay"}, 400, "tasks"),
        ({**WHY, "tasks": [1]}, 400, "tasks[0]"),
        ({**WHY, "tasks": ["pay"] * 101}, 400, "tasks"),
        ({**WHY, "force": "yes"}, 400, "force"),
        ({**WHY, "from": "pay"}, 400, "from"),
        ({**WHY, "instance_id": 5}, 400, "instance_id"),
    ],
)
def test_a_wrong_rerun_is_refused_with_its_place(api: Api, body: dict[str, Any], status: int, field: str) -> None:
    succeed_one("i1", flow=make_flow())

    answer = api.post(f"{TRANSACTIONS}/i1/rerun", body)

    assert (answer.status, answer.fields) == (status, {field})
    assert Transaction.objects.count() == 1


def test_a_name_that_is_taken_is_a_conflict(api: Api) -> None:
    succeed_one("i1", flow=make_flow())

    body = {**WHY, "force": True, "instance_id": "i1"}
    assert api.post(f"{TRANSACTIONS}/i1/rerun", body).status == 409
    assert api.post(f"{TRANSACTIONS}/i1/rerun", {**body, "instance_id": "a b"}).status == 400
    assert api.post(f"{TRANSACTIONS}/nobody/rerun", WHY).status == 404
    assert api.get(f"{TRANSACTIONS}/nobody/rerun").status == 404
    assert api.get(f"{TRANSACTIONS}/i1/rerun?tasks=a,,b").status == 400
