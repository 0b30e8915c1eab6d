"""In a real browser: no violation of the policy, no error in the console, and it fits a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from dist_task.alerts.models import Channel, Delivery
from exceptions_app.models import ExceptionRecord
from tests.admin.conftest import HOSTILE

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PHONE = {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium on PATH"),
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # The driver runs an event loop in this thread, and Django then refuses the database in it.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def addresses(record: ExceptionRecord) -> list[str]:
    channel = Channel.objects.create(name="ops", kind="webhook", url="https://hooks.example/", secret="S")
    delivery = Delivery.objects.create(key="k", channel=channel, event="test", subject=HOSTILE, payload={"a": HOSTILE})
    lists = ("transactions_transaction", "exceptions_app_exceptionrecord", "dist_task_executionlog", "flows_flow")
    return [
        reverse("admin:index"),
        *(reverse(f"admin:{page}_changelist") for page in lists),
        reverse("admin:transactions_transaction_change", args=(record.transaction_id,)),
        reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)),
        reverse("admin:flows_flow_change", args=(record.flow_id,)),
        reverse("admin:flows_flow_add"),
        reverse("admin:flows_taskdefinition_add"),
        reverse("admin:flows_connection_add"),
        reverse("admin:flows_secret_changelist"),
        reverse("admin:flows_secret_add"),
        reverse("admin:alerts_alertrule_add"),
        reverse("admin:alerts_channel_add"),
        reverse("admin:alerts_subscription_add"),
        reverse("admin:alerts_channel_change", args=(delivery.channel_id,)),
        reverse("admin:alerts_delivery_changelist"),
        reverse("admin:alerts_delivery_change", args=(delivery.pk,)),
        reverse("admin:auth_user_change", args=(User.objects.get(username="root").pk,)),
    ]


def test_every_page_is_quiet_and_fits_a_phone(
    browser: Any, live_server: Any, root: Client, record: ExceptionRecord
) -> None:
    said: list[str] = []
    context = browser.new_context(base_url=live_server.url, viewport=PHONE)
    context.add_cookies([{"name": "sessionid", "value": root.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"a script ran: {dialog.message}"))

    for address in addresses(record):
        page.goto(address)
        wide, screen = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= screen, address
        assert said == [], address
    context.close()


def test_an_exception_is_handled_with_the_keyboard_alone(
    browser: Any, live_server: Any, root: Client, record: ExceptionRecord
) -> None:
    context = browser.new_context(base_url=live_server.url)
    context.add_cookies([{"name": "sessionid", "value": root.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()

    page.goto(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)))
    page.get_by_role("button", name="Handle…").press("Enter")
    page.get_by_label("Remark").fill("fixed by hand")
    page.get_by_role("button", name="Do it").press("Enter")
    page.get_by_text("1 done, 0 refused").wait_for()
    context.close()

    record.refresh_from_db()
    assert (record.status, record.remark) == ("handled", "fixed by hand")
