"""An operator mends an input by keyboard, sees what would change, and says when, in the zone of their own clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from exceptions_app.retry_page import zone_named
from flows.register import register
from tests.browser.conftest import PHONE, Window
from tests.commands import rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
ZONE = "Asia/Shanghai"


@pytest.fixture
def record(root: Client) -> ExceptionRecord:
    task = {"id": "pay", "name": "Pay", "type": "noop", "retry": {"strategy": "manual"}}
    flow = register(name="orders", flow_type="t", definition={"tasks": [task]}, create_user="ana")
    found = rows.fail_one("order_1", flow=flow, code="NO_SUCH_IBAN")
    TaskRun.objects.filter(pk=found.run_id).update(input={"amount": 100, "iban": "DE00"})
    return found


def local_time(days: int) -> Any:
    at = timezone.now() + timedelta(days=days)
    return at.astimezone(zone_named(ZONE)).replace(second=0, microsecond=0)


@pytest.mark.parametrize("viewport", [None, PHONE])
def test_an_input_is_mended_and_tried_at_a_time(
    viewport: Any, window: Callable[..., Window], record: ExceptionRecord
) -> None:
    at = local_time(2)
    opened = window(viewport=viewport, timezone_id=ZONE)
    page = opened.open(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)))

    page.get_by_role("link", name="Retry with another input").press("Enter")
    box = page.get_by_label("Input")
    assert page.get_by_text(f"in the time zone {ZONE}").is_visible()
    box.fill(box.input_value().replace("DE00", "DE89"))
    page.get_by_label("Or at a time").fill(f"{at:%Y-%m-%dT%H:%M}")
    page.get_by_label("Remark").fill("the customer mistyped it")
    page.get_by_role("button", name="Show what would change").press("Enter")
    page.get_by_text(f"It runs at {at:%Y-%m-%d %H:%M:%S} ({ZONE})").wait_for()
    changes = page.locator("table.difference tr.removed, table.difference tr.added")
    assert [text.split("\t")[-1].strip() for text in changes.all_inner_texts()] == ['"iban": "DE00"', '"iban": "DE89"']
    assert opened.fits(), opened.too_wide()
    page.get_by_role("button", name="Do it").press("Enter")
    page.get_by_text(f"Retry scheduled for {at:%Y-%m-%d %H:%M:%S}").wait_for()

    record.refresh_from_db()
    assert (record.status, record.retry_next_at) == ("retrying", at)
    assert TaskRun.objects.get(pk=record.run_id).input == {"amount": 100, "iban": "DE89"}
    assert opened.said == []


def test_what_was_typed_wrong_is_kept_and_what_was_shown_can_be_changed_again(
    window: Callable[..., Window], record: ExceptionRecord
) -> None:
    opened = window(java_script_enabled=False)
    page = opened.open(reverse("admin:exception_retry", args=(record.pk,)))

    page.get_by_label("Input").fill('{"amount": 70,\n "iban"}')
    page.get_by_label("Remark").fill("less")
    page.get_by_role("button", name="Show what would change").click()
    assert page.get_by_text("Enter a valid JSON").is_visible()
    assert page.get_by_label("Input").input_value() == '{"amount": 70,\n "iban"}'
    page.get_by_label("Input").fill('{"amount": 70,\n "iban": "DE00"}')
    page.get_by_role("button", name="Show what would change").click()
    page.get_by_role("button", name="Change it again").click()
    assert page.get_by_label("Input").input_value() == '{"amount": 70,\n "iban": "DE00"}'
    assert page.get_by_label("Remark").input_value() == "less"

    record.refresh_from_db()
    assert record.status == "open"
