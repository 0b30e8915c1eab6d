"""/api/v1/approval-requests, and what the addresses answer whose verbs are only asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from knox.models import AuthToken

from dist_task.batches.models import Batch
from dist_task.four_eyes.models import ApprovalRequest
from flows.models import Flow
from tests.api.conftest import Api, as_role
from tests.batches.conftest import fail_many, make, run_all
from tests.commands import rows

from .conftest import WHY, asked, let_time_pass, stored, undoing

pytestmark = pytest.mark.django_db
Rule = Callable[..., None]
REQUESTS = "/api/v1/approval-requests"
COMPENSATE = "/api/v1/transactions/i1/compensate"
OK = {"remark": "I have seen the parcel"}


def supervisor(name: str) -> Api:
    user = User.objects.create_user(name)
    user.groups.add(Group.objects.get(name="supervisor"))
    return Api(token=AuthToken.objects.create(user)[1])


def with_permissions(*codenames: str) -> Api:
    user = User.objects.create_user("-".join(codenames))
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_approvalrequest", *codenames]))
    return Api(token=AuthToken.objects.create(user)[1])


def test_a_client_is_told_that_compensation_awaits_a_second_person(rule: Rule, closed: None, flow: Flow) -> None:
    rows.succeed_one("i1", flow=flow)
    ana, bo = supervisor("ana"), supervisor("bo")

    answer = ana.post(COMPENSATE, {"remark": WHY})

    request = answer.data["request"]
    assert (answer.status, answer.data["compensation"]) == (200, "none")
    about = {"act": "compensate", "status": "awaiting", "instance_id": "i1", "batch": None, "asked_by": "ana"}
    assert about.items() <= request.items()
    assert (request["remark"], request["decided_at"], request["expires_at"] > request["asked_at"]) == (WHY, None, True)
    shown = bo.get("/api/v1/transactions/i1/compensation").data
    assert (shown["request"]["id"], [task["task_id"] for task in shown["tasks"]]) == (request["id"], ["pay"])

    approved = bo.post(f"{REQUESTS}/{request['id']}/approve", OK)

    assert (approved.data["status"], approved.data["decided_by"]) == ("approved", "bo")
    after = ana.get("/api/v1/transactions/i1/compensation").data
    assert (after["compensation"], "request" in after) == ("running", False)


def test_without_the_rule_the_answers_have_no_request(flow: Flow) -> None:
    rows.succeed_one("i1", flow=flow)

    assert set(Api().post(COMPENSATE, OK).data) == {"instance_id", "status", "compensation"}
    assert set(Api().get("/api/v1/transactions/i1/compensation").data) == {
        "instance_id",
        "status",
        "compensation",
        "tasks",
    }


def test_a_client_is_told_that_a_batch_awaits_a_second_person(rule: Rule, closed: None, flow: Flow) -> None:
    fail_many(3, flow=flow)
    body = {"verb": "handle", "target": "exceptions", "filter": {"status": "open"}, "remark": "sent by hand"}
    ana, bo = supervisor("ana"), supervisor("bo")

    made = ana.post("/api/v1/batches", body).data["batch"]

    assert (made["status"], made["total"], made["request"]["batch"]) == ("awaiting", 3, made["id"])
    shown = bo.get(f"{REQUESTS}/{made['request']['id']}").data
    assert (shown["plan"], shown["preview"]["count"], shown["refusal"]) == (None, 3, "")
    assert shown["preview"]["groups"][0]["status"] == "open"
    bo.post(f"{REQUESTS}/{made['request']['id']}/approve", OK)

    assert run_all(Batch.objects.get()).done == 3
    after = ana.get(f"/api/v1/batches/{made['id']}").data
    assert (after["status"], after["request"]["status"]) == ("done", "approved")
    assert [entry["event"] for entry in after["log"]] == ["requested", "approved"]
    assert after["log"][1]["detail"]["asked_by"] == "ana"


def test_who_may_not_do_it_gets_no_preview_which_tries_it(rule: Rule, closed: None, flow: Flow) -> None:
    fail_many(2, flow=flow)
    make()

    shown = as_role("viewer").get(f"{REQUESTS}/{ApprovalRequest.objects.get().pk}").data

    assert (shown["preview"], shown["plan"], shown["refusal"], shown["act"]) == (None, None, "", "batch")


def test_the_preview_is_of_the_frozen_rows_only(rule: Rule, closed: None, flow: Flow) -> None:
    fail_many(2, flow=flow)
    make()
    rows.fail_one("later", flow=flow)

    shown = supervisor("bo").get(f"{REQUESTS}/{ApprovalRequest.objects.get().pk}").data

    assert shown["preview"]["count"] == 2


def test_two_tokens_of_one_person_are_one_person(rule: Rule, closed: None, flow: Flow) -> None:
    rows.succeed_one("i1", flow=flow)
    asker = supervisor("ana")
    other = Api(token=AuthToken.objects.create(User.objects.get(username="ana"))[1])
    number = asker.post(COMPENSATE, {"remark": WHY}).data["request"]["id"]

    for verb in ("approve", "reject"):
        answer = other.post(f"{REQUESTS}/{number}/{verb}", OK)
        assert (answer.status, "another person has to decide it" in answer.message) == (400, True)

    assert undoing() == "none"
    assert other.post(f"{REQUESTS}/{number}/withdraw").data["status"] == "withdrawn"


def test_who_sends_no_token_neither_asks_nor_decides(rule: Rule, flow: Flow) -> None:
    request = asked(flow)
    rows.succeed_one("i2", flow=flow)

    for path in (f"{REQUESTS}/{request.pk}/approve", "/api/v1/transactions/i2/compensate"):
        answer = Api().post(path, OK)
        assert (answer.status, "send a token" in answer.message) == (400, True)

    assert (undoing(), undoing("i2")) == ("none", "none")


def test_the_decider_needs_what_the_asker_needed(rule: Rule, closed: None, flow: Flow) -> None:
    fail_many(1, flow=flow)
    of_txn, batch = asked(flow), make("retry")
    of_batch = ApprovalRequest.objects.get(batch=batch)
    only_compensate = with_permissions("compensate_transaction")
    only_handle = with_permissions("add_batch", "handle_exceptionrecord")
    retries = with_permissions("add_batch", "retry_exceptionrecord")

    assert only_handle.post(f"{REQUESTS}/{of_txn.pk}/approve", OK).status == 403
    assert only_handle.post(f"{REQUESTS}/{of_batch.pk}/approve", OK).status == 403
    assert only_compensate.post(f"{REQUESTS}/{of_batch.pk}/reject", OK).status == 403
    assert (stored(of_txn).status, stored(of_batch).status) == ("awaiting", "awaiting")
    assert only_compensate.post(f"{REQUESTS}/{of_txn.pk}/approve", OK).status == 200
    assert retries.post(f"{REQUESTS}/{of_batch.pk}/approve", OK).status == 200


@pytest.mark.parametrize("role", ["viewer", "operator", "author"])
def test_others_read_and_do_not_decide(rule: Rule, closed: None, flow: Flow, role: str) -> None:
    request, api = asked(flow), as_role(role)

    assert {api.get(path).status for path in (REQUESTS, f"{REQUESTS}/{request.pk}")} == {200}
    statuses = {verb: api.post(f"{REQUESTS}/{request.pk}/{verb}", OK).status for verb in ("approve", "reject")}
    assert statuses == {"approve": 403, "reject": 403}
    assert api.post(f"{REQUESTS}/{request.pk}/withdraw").status == 400
    assert stored(request).status == "awaiting"


def test_the_list_is_newest_first_and_filtered(rule: Rule, flow: Flow) -> None:
    fail_many(1, flow=flow)
    first, second = asked(flow), asked(flow, "i2", actor="bo")
    make(actor="cleo")

    def ids(query: str = "") -> list[int]:
        return [each["id"] for each in Api().get(REQUESTS + query).data["list"]]

    assert ids()[1:] == [second.pk, first.pk]
    assert ids("?asked_by=bo&status=awaiting") == [second.pk]
    assert ids("?instance_id=i1") == [first.pk]
    assert ids("?act=batch") == [ids()[0]]
    assert ids(f"?after={second.pk}") == [first.pk]
    assert ids("?status=approved") == []
    for query in ("?status=x", "?act=x", "?more=1", "?asked_by="):
        assert Api().get(REQUESTS + query).status == 400


def test_the_list_asks_few_questions(rule: Rule, flow: Flow, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        asked(flow, f"i{number}")

    with django_assert_max_num_queries(3):
        assert len(Api().get(f"{REQUESTS}?page_size=30").data["list"]) == 30


@pytest.mark.parametrize("address", ["7", "x", str(2**70), "-1"])
def test_there_is_no_such_request(rule: Rule, address: str) -> None:
    assert Api().get(f"{REQUESTS}/{address}").status == 404
    for verb in ("approve", "reject", "withdraw"):
        assert Api().post(f"{REQUESTS}/{address}/{verb}", OK).status == 404


@pytest.mark.parametrize(
    "body",
    [None, {}, {"remark": ""}, {"remark": " "}, {"remark": 1}, {"remark": "x" * 2_001}, {"remark": "x", "y": 1}, []],
)
@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_malformed_decision_changes_nothing(rule: Rule, closed: None, flow: Flow, verb: str, body: Any) -> None:
    request = asked(flow)

    assert supervisor("bo").post(f"{REQUESTS}/{request.pk}/{verb}", body).status == 400

    assert (stored(request).status, undoing()) == ("awaiting", "none")


def test_what_would_be_refused_is_said_beforehand(rule: Rule, closed: None, flow: Flow) -> None:
    request, api = asked(flow), supervisor("bo")
    assert api.get(f"{REQUESTS}/{request.pk}").data["refusal"] == ""
    let_time_pass(request)

    assert "expired" in api.get(f"{REQUESTS}/{request.pk}").data["refusal"]
    assert api.post(f"{REQUESTS}/{request.pk}/approve", OK).status == 400
