"""The console by keyboard alone, and the live dot; every test ends with a quiet browser that asked one host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.engine.operate import cancel_transaction
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.browser.conftest import PHONE, Window
from tests.commands import rows

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
INBOX = "/admin/exceptions_app/exceptionrecord/"


@pytest.fixture
def opened(window: Callable[..., Window]) -> Iterator[Window]:
    found = window()
    yield found
    assert found.said == []
    assert len(found.hosts) <= 1


@pytest.fixture
def flow(root: Client) -> Flow:
    tasks: list[dict[str, Any]] = [
        {"id": "pay", "type": "noop"},
        {"id": "ship", "type": "noop", "depends_on": ["pay"]},
    ]
    return register(name="orders", flow_type="t", definition={"tasks": tasks}, create_user="ana")


def current(page: Any) -> str:
    text: str = page.locator("tr.current a").first.inner_text()
    return text


def test_rows_are_walked_and_handled_with_j_k_and_h(opened: Window, flow: Flow) -> None:
    records = [rows.fail_one(f"order_{number}", flow=flow) for number in range(3)]
    page = opened.open(INBOX)

    page.keyboard.press("j")
    assert current(page) == "order_2"
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert current(page) == "order_1"
    page.keyboard.press("h")
    page.get_by_label("Remark").fill("fixed by hand")
    page.locator(".submit-row .default").press("Enter")
    page.get_by_text("1 done, 0 refused").wait_for()

    records[1].refresh_from_db()
    assert (records[1].status, records[1].remark) == ("handled", "fixed by hand")
    assert ExceptionRecord.objects.needing_a_person().count() == 2


def test_selected_rows_are_retried_with_x_and_r(opened: Window, flow: Flow) -> None:
    for number in range(3):
        rows.fail_one(f"order_{number}", flow=flow)
    page = opened.open(INBOX)

    for key in ("j", "x", "j", "x", "r"):
        page.keyboard.press(key)
    page.get_by_text("2 rows").wait_for()

    assert page.locator(".chosen li").count() == 2


def test_the_row_is_opened_with_enter_and_its_page_has_the_same_keys(opened: Window, flow: Flow) -> None:
    for number in range(2):
        rows.fail_one(f"order_{number}", flow=flow)
    page = opened.open(INBOX)

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1).filter(has_text="Pay: TIMEOUT").wait_for()
    page.keyboard.press("r")
    page.get_by_text("The failed task of each exception runs again").wait_for()

    assert page.locator(".chosen a").all_inner_texts() == ["order_0_pay"]


def test_the_row_is_assigned_with_a(opened: Window, flow: Flow) -> None:
    records = [rows.fail_one(f"order_{number}", flow=flow) for number in range(2)]
    page = opened.open(INBOX)

    page.keyboard.press("j")
    page.keyboard.press("a")
    page.get_by_label("Assigned to").fill("root")
    page.get_by_label("Remark").fill("knows the bank")
    page.locator(".submit-row .default").press("Enter")
    page.get_by_text("1 done, 0 refused").wait_for()

    assert ExceptionRecord.objects.get(assignee="root").pk == records[1].pk


def test_the_walk_ends_at_the_first_and_the_last_row(opened: Window, flow: Flow) -> None:
    for number in range(2):
        rows.fail_one(f"order_{number}", flow=flow)
    page = opened.open(INBOX)

    for key in "jjjj":
        page.keyboard.press(key)
    last = current(page)
    for key in "kkkk":
        page.keyboard.press(key)

    assert (last, current(page)) == ("order_0", "order_1")


def test_keys_are_letters_where_somebody_types(opened: Window, flow: Flow) -> None:
    rows.fail_one("order_1", flow=flow)
    page = opened.open(INBOX)

    page.keyboard.press("j")
    page.get_by_label("Flow name").focus()
    page.keyboard.type("jkrhax?/")

    assert page.get_by_label("Flow name").input_value() == "jkrhax?/"
    assert page.url.endswith(INBOX)
    assert not page.get_by_role("dialog").is_visible()


def test_no_key_acts_behind_the_list_of_keys_and_it_names_each(opened: Window, flow: Flow) -> None:
    rows.fail_one("order_1", flow=flow)
    page = opened.open(INBOX)

    page.keyboard.press("j")
    page.keyboard.press("?")
    page.keyboard.press("r")
    named = page.get_by_role("dialog").locator("kbd").all_inner_texts()
    page.keyboard.press("Escape")

    assert page.url.endswith(INBOX)
    assert set(named) == {"/", "?", "Enter", *"jkxrha"}


def test_a_slash_jumps_and_a_question_mark_lists_the_keys(opened: Window, flow: Flow) -> None:
    txn = rows.start_one("order_7", flow=flow)
    page = opened.open(reverse("admin:index"))

    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("order_7_ship?")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{txn.pk}/change/?task=ship#task")

    assert page.locator("#task-title").inner_text() == "ship"


def test_the_tasks_of_a_drawing_are_links_that_the_keyboard_reaches(opened: Window, flow: Flow) -> None:
    txn = rows.start_one("order_7", flow=flow)
    page = opened.open(reverse("admin:transactions_transaction_change", args=(txn.pk,)))

    page.locator(".drawing").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**?task=ship#task")

    assert page.get_by_role("group", name="Graph").locator("title").count() >= 3


def test_an_open_page_follows_its_transaction(opened: Window, flow: Flow) -> None:
    txn = rows.start_one("order_7", flow=flow)
    page = opened.open(reverse("admin:transactions_transaction_change", args=(txn.pk,)))

    cancel_transaction("order_7", actor="bo", remark="the customer left")
    page.get_by_text("the customer left").first.wait_for(timeout=60_000)

    assert "cancelled" in page.locator(".row-head").inner_text()


def test_a_paused_page_asks_for_nothing(opened: Window, root: Client) -> None:
    page = opened.open(reverse("admin:index"))
    dot = page.locator("#live")

    dot.click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert dot.get_attribute("aria-pressed") == "true"
    assert "Paused" in dot.inner_text()
    page.clock.install()
    page.clock.fast_forward(60_000)
    assert asked == []

    with page.expect_response("**/admin/live/**"):
        dot.click()
    assert "Live" in dot.inner_text()


def test_without_a_script_every_page_works(window: Callable[..., Window], flow: Flow) -> None:
    record = rows.fail_one("order_1", flow=flow)
    found = window(java_script_enabled=False)

    page = found.open(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)))
    page.get_by_role("button", name="Handle…").click()
    page.get_by_label("Remark").fill("fixed by hand")
    page.locator(".submit-row .default").click()
    page.get_by_text("1 done, 0 refused").wait_for()

    record.refresh_from_db()
    assert record.status == "handled"


def test_the_navigation_of_a_phone_shows_where_one_is(window: Callable[..., Window]) -> None:
    page = window(viewport=PHONE).open(reverse("admin:auth_group_changelist"))

    place = page.locator("#console-nav [aria-current]").bounding_box()

    assert 0 <= place["x"] <= PHONE["width"] - place["width"]
    assert page.evaluate("window.scrollY") == 0
