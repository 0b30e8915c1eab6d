"""Saved views by keyboard alone: filters become a link above the list, and go again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from dist_task.saved_views.models import SavedView
from tests.browser.conftest import PHONE, Window
from tests.commands import rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
NAME = "<b>bank</b> " + "x" * 45


@pytest.mark.parametrize("viewport", [None, PHONE])
def test_a_view_is_saved_opened_and_deleted(viewport: Any, window: Callable[..., Window], root: Client) -> None:
    flow = rows.make_flow()
    rows.fail_one("order_1", flow=flow)
    rows.start_one("order_2", flow=flow)
    opened = window(viewport=viewport)
    page = opened.open("/admin/transactions/transaction/?status=failed")

    page.get_by_text("Save this view").press("Enter")
    page.get_by_label("Name", exact=True).fill(NAME)
    page.get_by_label("for everybody").press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text(f"The view {NAME} was saved.").wait_for()
    page.get_by_role("link", name="Clear").press("Enter")
    page.get_by_text("order_2").wait_for()
    page.get_by_role("link", name=NAME).press("Enter")
    page.wait_for_url("**/transaction/?status=failed")
    assert page.get_by_role("link", name=NAME).get_attribute("aria-current") == "page"
    assert page.get_by_text("order_2").count() == 0
    assert opened.fits(), opened.too_wide()
    assert SavedView.objects.get().is_shared

    page.get_by_text("Save or delete a view").press("Enter")
    assert opened.fits(), opened.too_wide()
    page.get_by_label("Which view").select_option(label=NAME)
    page.get_by_role("button", name="Delete").press("Enter")
    page.get_by_text(f"The view {NAME} was deleted.").wait_for()

    assert not SavedView.objects.exists()
    assert opened.said == []
