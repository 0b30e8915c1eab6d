"""Lists stay light: few queries whatever the number of rows, small pages, filters that filter."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from dist_task.console.rows import MOST_COUNTED
from exceptions_app.models import ExceptionRecord
from flows.models import Flow, TaskDefinition
from tests.commands import rows
from transactions.models import Transaction

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


def test_the_inbox_opens_with_what_needs_a_person(root: Client, flow: Flow) -> None:
    waiting, done = rows.fail_one("waiting_1", flow=flow), rows.fail_one("done_1", flow=flow)
    root.post(
        reverse("admin:exceptions_app_exceptionrecord_changelist"),
        {"action": "handle", "_selected_action": done.pk, "confirmed": "yes", "resolution": "ignored"},
    )

    text = root.get(reverse("admin:exceptions_app_exceptionrecord_changelist")).content.decode()
    handled = root.get(reverse("admin:exceptions_app_exceptionrecord_changelist") + "?status=handled").content.decode()

    assert waiting.transaction.instance_id in text
    assert "done_1" not in text
    assert "done_1" in handled


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status__exact=failed", {"bad"}),
        ("status__exact=pending", {"new"}),
        ("q=ba", {"bad"}),
        ("q=ad", set()),
        ("moving=due", {"new"}),
        ("moving=held", set()),
        ("flow_name=orders", {"bad", "new"}),
        ("flow_name=other", set()),
    ],
)
def test_transactions_are_found(query: str, found: set[str], root: Client, flow: Flow) -> None:
    rows.fail_one("bad", flow=flow)
    rows.start_one("new", flow=flow)

    answer = root.get(reverse("admin:transactions_transaction_changelist") + f"?{query}")

    assert {txn.instance_id for txn in answer.context["cl"].result_list} == found


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
