"""/api/v1/batches."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from knox.models import AuthToken

from dist_task.batches.export import as_csv, cell
from dist_task.batches.models import Batch, BatchItem
from dist_task.engine.operate import handle_exception
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.api.conftest import Api, as_role, closed
from tests.commands import rows
from transactions.models import Transaction

from .conftest import fail_many, make, results, run_all, stored

__all__ = ["closed"]  # a fixture
pytestmark = pytest.mark.django_db
BATCHES = "/api/v1/batches"
WHY = {"remark": "why"}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def flow() -> Flow:
    return rows.make_flow()


def wanted(**values: Any) -> dict[str, Any]:
    about = {"verb": "retry", "target": "exceptions", "filter": {"status": "open"}, "remark": "the bank is back"}
    return {name: value for name, value in {**about, **values}.items() if value is not None}


def test_a_preview_changes_nothing_and_a_batch_does_it(api: Api, flow: Flow) -> None:
    fail_many(25, flow=flow)

    seen = api.post(BATCHES, wanted(preview=True, parameters={"delay": 0}))
    assert seen.data["batch"] is None
    assert (seen.data["preview"]["count"], len(seen.data["preview"]["sample"])) == (25, 20)
    (group,) = seen.data["preview"]["groups"]
    assert (group["status"], group["second_status"], group["tried"], group["refused"]) == ("open", "failed", 20, 0)
    assert not Batch.objects.exists()

    made = api.post(BATCHES, wanted(parameters={"delay": 0}, rate=200)).data["batch"]
    assert (made["status"], made["total"], made["rate"], made["created_by"]) == ("running", 25, 200, "anonymous")
    assert made["selection"] == {"filter": {"status": "open"}}
    run_all(Batch.objects.get())

    shown = api.get(f"{BATCHES}/{made['id']}").data
    assert (shown["status"], shown["done"], [each["event"] for each in shown["log"]]) == ("done", 25, ["created"])


def test_ids_are_frozen_and_those_of_nobody_are_told(api: Api, flow: Flow) -> None:
    first = rows.fail_one("a", flow=flow)
    rows.fail_one("b", flow=flow)

    made = api.post(BATCHES, wanted(filter=None, ids=[first.pk, first.pk]))
    named = api.post(BATCHES, wanted(target="transactions", filter=None, ids=["b"]))
    unknown = api.post(BATCHES, wanted(target="transactions", filter=None, ids=["b", "nobody", 7]))

    assert (made.data["batch"]["total"], named.data["batch"]["total"]) == (1, 1)
    assert (unknown.status, "2 of the ids" in unknown.message) == (400, True)


def test_the_filters_are_those_of_the_lists(api: Api, flow: Flow) -> None:
    record = rows.fail_one("order-1", flow=flow)
    rows.fail_one("refund-1", flow=rows.make_flow(name="refunds"))
    handle_exception(record.pk, actor="bo")
    for target, given, total in (
        ("exceptions", {"handled": False}, 1),
        ("exceptions", {"flow_name": "orders", "handled": True}, 1),
        ("transactions", {"instance_id_prefix": "refund"}, 1),
        ("transactions", {"status": "failed", "created_after": "2000-01-01T00:00:00Z"}, 2),
    ):
        answer = api.post(BATCHES, wanted(target=target, filter=given))
        assert answer.data["batch"]["total"] == total, given


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"remark": None}, "remark"),
        ({"remark": " "}, "remark"),
        ({"target": "flows"}, "target"),
        ({"verb": "explode"}, None),
        ({"filter": None}, None),
        ({"filter": {}}, None),
        ({"ids": [1]}, None),
        ({"filter": None, "ids": []}, "ids"),
        ({"filter": None, "ids": [-1]}, None),
        ({"filter": None, "ids": [{"a": 1}]}, None),
        ({"filter": None, "ids": ["1"]}, None),
        ({"filter": {"status": "nonsense"}}, "filter.status"),
        ({"filter": {"nonsense": "x"}}, "filter.nonsense"),
        ({"filter": {"status": 7}}, "filter.status"),
        ({"filter": {"ordering": "id"}, "target": "transactions"}, "filter.ordering"),
        ({"rate": 0}, "rate"),
        ({"rate": "7"}, "rate"),
        ({"parameters": {"resolution": "ignored"}}, None),
        ({"parameters": {"delay": -1}}, "parameters.delay"),
        ({"parameters": {"speed": 1}}, "parameters.speed"),
        ({"more": 1}, "more"),
        ({"filter": {"flow_name": "nobody"}}, None),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    api: Api, flow: Flow, values: dict[str, Any], place: str | None
) -> None:
    rows.fail_one("a", flow=flow)

    answer = api.post(BATCHES, wanted(**values))

    assert answer.status == 400
    assert place is None or place in answer.fields
    assert not Batch.objects.exists()


def test_a_batch_is_paused_resumed_and_cancelled(api: Api, flow: Flow) -> None:
    fail_many(2, flow=flow)
    batch = make()
    for verb, after in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        answer = api.post(f"{BATCHES}/{batch.pk}/{verb}", {"remark": verb})
        assert (answer.data["status"], stored(batch).status) == (after, after)
        assert answer.data["log"][-1]["message"] == verb

    late = api.post(f"{BATCHES}/{batch.pk}/resume", WHY)
    assert (late.status, "cancelled" in late.message) == (400, True)


@pytest.mark.parametrize("address", ["7", "x", str(2**70)])
def test_there_is_no_such_batch(api: Api, address: str) -> None:
    for path in ("", "/items", "/export"):
        assert api.get(f"{BATCHES}/{address}{path}").status == 404
    for verb in ("pause", "resume"):
        assert api.post(f"{BATCHES}/{address}/{verb}", WHY).status == 404


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_who_steers_a_batch_says_why(api: Api, flow: Flow, verb: str) -> None:
    fail_many(1, flow=flow)
    batch = make()

    for body in (None, {}, {"remark": " "}):
        answer = api.post(f"{BATCHES}/{batch.pk}/{verb}", body)
        assert (answer.status, "remark" in answer.fields) == (400, True)
    assert stored(batch).status == "running"


def test_items_are_paged_and_filtered_by_result(api: Api, flow: Flow) -> None:
    fail_many(5, flow=flow)
    handle_exception(ExceptionRecord.objects.earliest("id").pk, actor="bo")
    batch = run_all(make(rows=ExceptionRecord.objects.all()))

    page = api.get(f"{BATCHES}/{batch.pk}/items?page_size=2").data
    rest = api.get(f"{BATCHES}/{batch.pk}/items?after={page['list'][-1]['id']}").data
    (refused,) = api.get(f"{BATCHES}/{batch.pk}/items?status=refused").data["list"]

    assert (page["pagination"]["total"], len(page["list"]), len(rest["list"])) == (5, 2, 3)
    assert (refused["instance_id"], refused["status"]) == ("many-1", "refused")
    assert "was handled by bo already" in refused["message"]
    assert api.get(f"{BATCHES}/{batch.pk}/items?status=x").status == 400


def test_the_list_is_newest_first_and_filtered(api: Api, flow: Flow) -> None:
    fail_many(1, flow=flow)
    first, second = run_all(make()), make(rows=ExceptionRecord.objects.all(), actor="bo")

    assert [each["id"] for each in api.get(BATCHES).data["list"]] == [second.pk, first.pk]
    assert [each["id"] for each in api.get(f"{BATCHES}?status=done").data["list"]] == [first.pk]
    assert [each["id"] for each in api.get(f"{BATCHES}?created_by=bo&target=exceptions").data["list"]] == [second.pk]


def test_the_export_is_a_table_that_no_spreadsheet_runs(flow: Flow) -> None:
    rows.fail_one("=1+1", flow=flow)
    batch = run_all(make())

    answer = Client().get(f"{BATCHES}/{batch.pk}/export")

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer["Content-Disposition"]
    head, line = answer.content.decode("utf-8-sig").splitlines()
    assert head == "item,id,instance_id,result,message,at"
    assert line.split(",")[2:4] == ["'=1+1", "done"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("order-1", "order-1"),
        ("", ""),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\uff1d1", "'\uff1d1"),
    ],
)
def test_what_begins_like_a_formula_does_not_in_a_cell(text: str, shown: str) -> None:
    assert cell(text) == shown


def test_separators_quotes_and_line_breaks_stay_within_their_cell() -> None:
    hostile = 'a,"b"\n=1;c'

    (_head, row) = csv.reader(StringIO(as_csv([(1, 2, "n", "refused", hostile, None)]).removeprefix("\ufeff")))

    assert row == ["1", "2", "n", "refused", hostile, ""]


@pytest.mark.parametrize(
    ("role", "may"), [("viewer", False), ("operator", False), ("supervisor", True), ("author", False), ("admin", True)]
)
def test_supervisors_make_and_steer_batches_and_everybody_reads_them(
    closed: None, flow: Flow, role: str, may: bool
) -> None:
    fail_many(2, flow=flow)
    batch, api = make(), as_role(role)

    statuses = [api.post(BATCHES, wanted(preview=True)).status, api.post(BATCHES, wanted()).status]
    statuses += [api.post(f"{BATCHES}/{batch.pk}/{verb}", WHY).status for verb in ("pause", "resume", "cancel")]

    assert statuses == [200 if may else 403] * 5
    assert {api.get(f"{BATCHES}{path}").status for path in ("", f"/{batch.pk}", f"/{batch.pk}/items")} == {200}


def test_a_batch_needs_the_permission_of_its_verb_besides(closed: None, flow: Flow) -> None:
    rows.fail_one("a", flow=flow)
    batch = make("retry")
    user = User.objects.create_user("bulk")
    for name in ("add_batch", "change_batch", "handle_exceptionrecord"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    api = Api(token=AuthToken.objects.create(user)[1])

    refused = api.post(BATCHES, wanted())
    assert (refused.status, "retry_exceptionrecord" in refused.message) == (403, True)
    assert api.post(BATCHES, wanted(preview=True)).status == 403
    assert api.post(f"{BATCHES}/{batch.pk}/pause", WHY).status == 200
    assert api.post(f"{BATCHES}/{batch.pk}/resume", WHY).status == 403
    assert api.post(BATCHES, wanted(verb="handle")).status == 200
    assert set(results(batch).values()) == {"pending"}


def test_the_reader_of_a_batch_of_many_asks_few_questions(
    api: Api, flow: Flow, django_assert_max_num_queries: Any
) -> None:
    fail_many(50, flow=flow)
    batch = make()

    with django_assert_max_num_queries(4):
        api.get(f"{BATCHES}/{batch.pk}/items?page_size=50")
    with django_assert_max_num_queries(3):
        assert len(api.client.get(f"{BATCHES}/{batch.pk}/export").content.splitlines()) == 51
    assert BatchItem.objects.count() == 50


@pytest.mark.parametrize(
    ("target", "verb", "status"),
    [("exceptions", "skip", "open"), ("exceptions", "complete", "open"), ("transactions", "rerun", "failed")],
)
def test_a_verb_that_needs_a_reason_is_tried_before_there_is_one(
    api: Api, flow: Flow, target: str, verb: str, status: str
) -> None:
    fail_many(3, flow=flow)

    seen = api.post(BATCHES, wanted(target=target, verb=verb, filter={"status": status}, preview=True))

    (group,) = seen.data["preview"]["groups"]
    assert (group["tried"], group["refused"], group["reasons"]) == (3, 0, [])


def test_many_transactions_are_run_again(api: Api, flow: Flow) -> None:
    fail_many(3, flow=flow)
    body = wanted(
        target="transactions", verb="rerun", filter={"status": "failed"}, parameters={"tasks": ["pay"], "force": True}
    )

    api.post(BATCHES, {**body, "preview": True})
    assert not Transaction.objects.filter(rerun_of__isnull=False).exists()
    api.post(BATCHES, body)
    run_all(Batch.objects.get())

    assert Transaction.objects.filter(rerun_of__isnull=False).count() == 3


def test_many_exceptions_are_assigned(api: Api, flow: Flow) -> None:
    User.objects.create_superuser("ana")
    fail_many(3, flow=flow)
    body = wanted(verb="assign", parameters={"assignee": "ana"})

    assert api.post(BATCHES, {**body, "parameters": {}}).status == 400, "nobody is named"
    api.post(BATCHES, body)
    run_all(Batch.objects.get())

    assert set(ExceptionRecord.objects.values_list("assignee", flat=True)) == {"ana"}
