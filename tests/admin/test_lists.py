"""Lists stay light: few queries whatever the number of rows, small pages, filters that filter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from dist_task.alerts.models import AlertRule, Channel, Delivery
from dist_task.console.rows import MOST_COUNTED
from dist_task.engine.operate import pause_transaction, retry_transaction
from dist_task.engine.store import counts
from exceptions_app.models import ExceptionRecord
from flows.models import Flow, TaskDefinition
from flows.register import register
from stats.recent import by_hour, durations
from tests.batches.conftest import make
from tests.commands import rows
from transactions.models import Transaction

from .test_actions import confirmed

MOST_QUERIES = 10
HEAVIEST = 100_000


@pytest.mark.parametrize(
    "page",
    [
        "exceptions_app_exceptionrecord",
        "transactions_transaction",
        "dist_task_executionlog",
        "dist_task_worker",
        "flows_flow",
        "flows_taskdefinition",
        "alerts_alertrule",
        "alerts_channel",
        "alerts_delivery",
        "batches_batch",
        "auth_user",
    ],
)
def test_a_list_asks_few_questions_and_is_light(
    page: str, root: Client, flow: Flow, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        rows.fail_one(f"order_{number}", flow=flow)
        rows.make_flow(name=f"flow_{number}")
        TaskDefinition.objects.create(name=f"task_{number}", type="noop")
        channel = Channel.objects.create(
            name=f"channel_{number}", kind="webhook", secret="S", url="https://hooks.example/"
        )
        AlertRule.objects.create(name=f"rule_{number}", kind="exceptions").channels.add(channel)
        Delivery.objects.create(key=number, channel=channel, event="test", subject="x", payload={})
        make()
    Transaction.objects.bulk_create([Transaction(instance_id=f"m{n}", flow=flow) for n in range(200)])

    with django_assert_max_num_queries(MOST_QUERIES):
        answer = root.get(reverse(f"admin:{page}_changelist"))

    assert len(answer.content) < HEAVIEST


def test_a_transaction_with_a_long_history_asks_few_questions(
    root: Client, record: ExceptionRecord, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    page = reverse("admin:transactions_transaction_change", args=(record.transaction_id,))
    root.get(page)

    with django_assert_max_num_queries(20):
        root.get(page)


def test_the_overview_asks_few_questions(
    root: Client, record: ExceptionRecord, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(15):
        root.get(reverse("admin:index"))


def test_counting_stops_at_a_cap(root: Client, flow: Flow) -> None:
    from dist_task.console.rows import CappedPaginator

    paginator = CappedPaginator(Transaction.objects.all(), 50)

    assert f"LIMIT {MOST_COUNTED + 1}" in str(Transaction.objects.order_by()[: MOST_COUNTED + 1].query)
    assert paginator.count == 0


def turn(root: Client, query: str = "") -> Any:
    return root.get(reverse("admin:transactions_transaction_changelist") + query).context["cl"]


@pytest.mark.parametrize("query", ["?status=pending", "?created_after=2020-01-01T00:00"])
def test_pages_are_turned_by_key_and_lose_nothing(query: str, root: Client, flow: Flow) -> None:
    Transaction.objects.bulk_create([Transaction(instance_id=f"m{n:03}", flow=flow) for n in range(120)])
    wanted = [f"m{n:03}" for n in reversed(range(120))]

    first = turn(root, query)
    second = turn(root, first.older_link)
    third = turn(root, second.older_link)
    back = turn(root, third.newer_link)

    pages = [[txn.instance_id for txn in page.result_list] for page in (first, second, third)]
    assert pages == [wanted[:50], wanted[50:100], wanted[100:]]
    assert [txn.instance_id for txn in back.result_list] == pages[1]
    assert (first.newer_link, third.older_link, first.counted) == ("", "", "120")
    assert turn(root, third.newest_link).older_link == first.older_link


@pytest.mark.parametrize("query", ["?after=x", "?after=999999999999999999", "?before=-1", "?after=" + "9" * 40])
def test_a_key_that_is_none_opens_the_first_page(query: str, root: Client, flow: Flow) -> None:
    rows.start_one("n", flow=flow)

    assert [txn.instance_id for txn in turn(root, query).result_list] == ["n"]


def test_a_row_says_how_far_its_tasks_are(root: Client) -> None:
    tasks = [{"id": "pay", "type": "noop"}, {"id": "ship", "type": "noop", "depends_on": ["pay"]}]
    flow = register(name="two", flow_type="t", definition={"tasks": tasks}, create_user="t")
    rows.fail_one("bad", flow=flow)

    (txn,) = turn(root).result_list

    assert (txn.progress.ended, txn.progress.total, txn.progress.failed) == (0, 2, 1)
    assert txn.progress.spoken == "failed: 1"


def test_what_is_tried_again_is_seen_in_the_list(root: Client, flow: Flow) -> None:
    rows.fail_one("bad", flow=flow)
    retry_transaction("bad", actor="ana")

    (txn,) = turn(root).result_list

    assert [segment[0] for segment in txn.progress.segments] == ["retrying"]
    assert txn.progress.spoken == "retrying: 1"


def test_what_failed_alike_is_one_group(root: Client, flow: Flow) -> None:
    for number in range(3):
        rows.fail_one(f"order_{number}", flow=flow)
    rows.fail_one("other", flow=flow, code="OTHER")
    ExceptionRecord.objects.filter(error_code="TIMEOUT").update(fingerprint="of a timeout")

    page = root.get(reverse("admin:exception_groups"))

    found = page.context["groups"]
    assert [(group.error_code, group.count) for group in found] == [("TIMEOUT", 3), ("OTHER", 1)]
    inbox = root.get(reverse("admin:exceptions_app_exceptionrecord_changelist"), {"fingerprint": found[0].fingerprint})
    assert len(inbox.context["cl"].result_list) == 3
    assert b"There are none." in root.get(reverse("admin:exception_groups"), {"status": "handled"}).content


def test_who_may_see_no_exceptions_sees_no_groups(sign_in: Callable[..., Client]) -> None:
    assert sign_in().get(reverse("admin:exception_groups")).status_code == 403


def test_the_overview_says_what_stands_still_and_why(root: Client, flow: Flow) -> None:
    txn = rows.start_one("old", flow=flow)
    long_ago = txn.created_at - timedelta(minutes=5)
    Transaction.objects.filter(pk=txn.pk).update(created_at=long_ago, wake_at=long_ago)

    page = root.get(reverse("admin:index"))

    ((found, reason, _age),) = page.context["dashboard"]["standing"]
    assert (found.instance_id, reason.kind) == ("old", "nobody")


def test_hours_and_durations_come_from_the_counters_and_the_newest(root: Client, flow: Flow) -> None:
    rows.succeed_one("good", flow=flow)
    rows.fail_one("bad", flow=flow)

    hours, found = by_hour(), durations()

    assert (len(hours), hours[-1].succeeded + hours[-2].succeeded, hours[-1].failed + hours[-2].failed) == (24, 1, 1)
    assert found.median is not None
    assert found.p95 == found.median
    with connection.cursor() as cursor:
        counts.fold(cursor)
    assert [hour.total for hour in by_hour()] == [hour.total for hour in hours]


def test_the_inbox_opens_with_what_needs_a_person(root: Client, flow: Flow) -> None:
    waiting, done = rows.fail_one("waiting_1", flow=flow), rows.fail_one("done_1", flow=flow)
    root.post(
        reverse("admin:exceptions_app_exceptionrecord_changelist"),
        confirmed("handle", done.pk, resolution="ignored"),
    )

    text = root.get(reverse("admin:exceptions_app_exceptionrecord_changelist")).content.decode()
    handled = root.get(reverse("admin:exceptions_app_exceptionrecord_changelist") + "?status=handled").content.decode()

    assert waiting.transaction.instance_id in text
    assert "done_1" not in text
    assert "done_1" in handled


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=failed", {"bad"}),
        ("status=pending", {"new"}),
        ("instance_id_prefix=ba", {"bad"}),
        ("instance_id_prefix=ad", set()),
        ("moving=due", {"new"}),
        ("moving=held", set()),
        ("flow_name=orders", {"bad", "new"}),
        ("flow_name=other", set()),
        ("created_after=2020-01-01T00:00", {"bad", "new"}),
        ("created_before=2020-01-01T00:00", set()),
        ("payload_key=n&payload_value=1", {"bad", "new"}),
        ("payload_key=n&payload_value=2", set()),
        ("payload_key=n", {"bad", "new"}),
        ("payload_key=n.m", set()),
        ("payload_key=status__x&payload_value=1", set()),
        ("payload_key=..&payload_value=1", set()),
        ("compensation=none&status=failed", {"bad"}),
        ("created_after=nonsense", set()),
        ("status=nonsense", set()),
    ],
)
def test_transactions_are_found(query: str, found: set[str], root: Client, flow: Flow) -> None:
    rows.fail_one("bad", flow=flow)
    rows.start_one("new", flow=flow)

    answer = root.get(reverse("admin:transactions_transaction_changelist") + f"?{query}")

    assert {txn.instance_id for txn in answer.context["cl"].result_list} == found


def test_the_form_of_filters_asks_for_nothing_that_was_not_chosen(root: Client, flow: Flow) -> None:
    """A browser sends the first choice of a list in which none is selected."""
    for page in ("transactions_transaction", "exceptions_app_exceptionrecord", "dist_task_executionlog"):
        form = root.get(reverse(f"admin:{page}_changelist")).context["cl"].filterset.form
        choices = {name: list(field.choices) for name, field in form.fields.items() if hasattr(field, "choices")}
        assert {name: first[0][0] for name, first in choices.items()} == dict.fromkeys(choices, ""), page


@pytest.mark.parametrize(("query", "found"), [("paused=true", ["on_hold"]), ("paused=false", ["going_on"])])
def test_paused_transactions_are_found(query: str, found: list[str], root: Client, flow: Flow) -> None:
    rows.start_one("on_hold", flow=flow)
    rows.start_one("going_on", flow=flow)
    pause_transaction("on_hold", actor="ana", remark="the bank is closed")

    assert [txn.instance_id for txn in turn(root, f"?{query}").result_list] == found


def test_every_number_of_the_overview_leads_to_its_list(root: Client, record: ExceptionRecord) -> None:
    tiles = root.get(reverse("admin:index")).context["dashboard"]["tiles"]

    shown = {tile.name: tile.value for tile in tiles}
    assert (shown["Need a person"], shown["Failed"], shown["Pending"]) == ("1", "1", "0")
    for tile in tiles:
        assert root.get(tile.url).status_code == 200, tile.name


def test_the_count_that_needs_a_person_is_in_the_navigation(
    sign_in: Callable[..., Client], record: ExceptionRecord
) -> None:
    text = sign_in("viewer").get(reverse("admin:flows_flow_changelist")).content.decode()

    assert '<span id="needs-person">1</span>' in text


@pytest.mark.parametrize("page", ["alerts_alertrule", "alerts_channel", "flows_connection", "flows_secret"])
def test_an_empty_list_says_what_to_do_next(page: str, root: Client) -> None:
    address = reverse(f"admin:{page}_changelist")

    text = root.get(address).content.decode()
    narrowed = root.get(address, {"q": "nothing"}).content.decode()

    assert "There is nothing yet." in text
    assert f'class="empty">There is nothing yet. <a href="{reverse(f"admin:{page}_add")}">Add ' in text
    assert 'name="action"' not in text
    assert "Nothing matches. Clear the filter" in narrowed


@pytest.mark.parametrize(
    ("page", "hint"),
    [("batches_batch", "choose rows in the list of exceptions"), ("alerts_delivery", "A channel can send a test.")],
)
def test_an_empty_list_of_what_the_engine_writes_says_where_that_comes_from(page: str, hint: str, root: Client) -> None:
    address = reverse(f"admin:{page}_changelist")

    assert hint in root.get(address).content.decode()
    assert hint not in root.get(address, {"status": "done"}).content.decode()


def test_a_list_of_workers_without_one_says_what_to_start(root: Client) -> None:
    text = root.get(reverse("admin:dist_task_worker_changelist")).content.decode()

    assert text.count("there is no live worker. Start a cluster.") == 1


def test_a_paused_transaction_says_so_in_the_list(root: Client, flow: Flow) -> None:
    rows.start_one("order_1", flow=flow)
    rows.start_one("order_2", flow=flow)
    pause_transaction("order_1", actor="ana", remark="the bank is closed")

    text = root.get(reverse("admin:transactions_transaction_changelist")).content.decode()

    assert text.count("❚❚ paused") == 1
