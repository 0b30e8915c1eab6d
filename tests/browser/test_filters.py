"""The filters of the long lists, sent as a person sends them: with what is filled in, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.urls import reverse

from dist_task.engine.operate import pause_transaction
from tests.browser.conftest import Window
from tests.commands import rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]


@pytest.mark.parametrize(
    "page", ["transactions_transaction", "exceptions_app_exceptionrecord", "dist_task_executionlog"]
)
def test_a_filter_with_nothing_in_it_leaves_every_row(page: str, window: Callable[..., Window]) -> None:
    flow = rows.make_flow()
    for number in range(3):
        rows.fail_one(f"order_{number}", flow=flow)
    opened = window().open(reverse(f"admin:{page}_changelist"))
    before = opened.locator("#result_list tbody tr").count()

    opened.get_by_role("button", name="Filter").click()
    opened.get_by_role("link", name="Clear").wait_for()

    assert before >= 3
    assert opened.locator("#result_list tbody tr").count() == before


@pytest.mark.parametrize(
    ("chosen", "shown"), [("yes", ["order_1"]), ("no", ["order_2"]), ("all", ["order_2", "order_1"])]
)
def test_paused_transactions_are_found_and_left_out(
    chosen: str, shown: list[str], window: Callable[..., Window]
) -> None:
    flow = rows.make_flow()
    for name in ("order_1", "order_2"):
        rows.start_one(name, flow=flow)
    pause_transaction("order_1", actor="ana", remark="the bank is closed")
    opened = window().open(reverse("admin:transactions_transaction_changelist"))

    opened.get_by_label("Paused").select_option(chosen)
    opened.get_by_role("button", name="Filter").click()
    opened.get_by_role("link", name="Clear").wait_for()

    assert opened.locator("#result_list .field-name").all_inner_texts() == shown
