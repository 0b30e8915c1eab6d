"""The pages of the four-eyes rule: quiet, within the window, and enough to decide by."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from dist_task.four_eyes.models import ApprovalRequest
from exceptions_app.models import ExceptionRecord
from flows.register import register
from tests.batches.conftest import fail_many, make
from tests.browser.conftest import DESKTOP, PHONE, Window
from tests.browser.stage import HOSTILE
from tests.commands import rows
from tests.engine.conftest import begin, finished
from tests.four_eyes.conftest import ask, rule, stored, undoable, undoing
from transactions.models import Transaction

__all__ = ["rule"]  # a fixture
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
SHOTS = [("en", "light", DESKTOP), ("zh-hans", "dark", DESKTOP), ("en", "light", PHONE), ("zh-hans", "dark", PHONE)]
ORDER: list[dict[str, Any]] = [
    {"id": "order", "name": "Take the order", "type": "noop"},
    {"id": "pay", "name": "Deduct the amount", "type": "noop", "depends_on": ["order"], "compensate": {}},
    {"id": "stock", "name": "Reserve the goods", "type": "noop", "depends_on": ["order"], "compensate": {}},
    {"id": "ship", "name": "Hand over the parcel", "type": "noop", "depends_on": ["pay", "stock"], "compensate": {}},
]


def addresses() -> dict[str, str]:
    """By the names of the pictures. What root has asked for itself, and what others have."""
    flow = register(name="order_flow", flow_type="order", definition={"tasks": ORDER}, create_user="ana")
    first, second, third = (finished(begin(flow, instance_id=f"order-2026-{n:04}")) for n in (7, 8, 9))
    others = ask(
        first.instance_id, actor="ana", remark="The customer sent it back; the parcel is here, see ticket 4711."
    )
    own = ask(second.instance_id, actor="root", remark="A twin of order-2026-0007.")
    hostile = ask(third.instance_id, actor="bo", remark=HOSTILE * 10)
    fail_many(30, flow=undoable())
    batch = make(rows=ExceptionRecord.objects.filter(status="open"), remark="All of the outage of 3 a.m.")
    of_batch = ApprovalRequest.objects.get(batch=batch)
    named = {"request": others, "request-own": own, "request-hostile": hostile, "request-batch": of_batch}
    return {
        "overview-four-eyes": reverse("admin:index"),
        "requests": reverse("admin:four_eyes_approvalrequest_changelist"),
        "requests-yours": reverse("admin:four_eyes_approvalrequest_changelist") + "?status=yours",
        "transaction-asked": reverse("admin:transactions_transaction_change", args=(first.pk,)),
        "batch-awaiting": reverse("admin:batches_batch_change", args=(batch.pk,)),
        "batch-new-four-eyes": reverse("admin:batch_new", args=("transactions", "compensate")) + "?status=success",
        **{name: reverse("admin:four_eyes_approvalrequest_change", args=(row.pk,)) for name, row in named.items()},
    }


def test_every_page_is_quiet_in_both_languages_and_themes(
    rule: Any, worker: Any, window: Callable[..., Window], tmp_path: Path
) -> None:
    folder = Path(os.environ.get("DIST_TASK_SCREENSHOTS") or tmp_path)
    shown = addresses()
    for language, theme, viewport in SHOTS:
        found = window(language=language, theme=theme, viewport=viewport)
        for name, address in shown.items():
            page = found.open(address)
            assert found.fits(), f"{name} is wider than {viewport['width']} pixels: {found.too_wide()}"
            page.screenshot(path=folder / f"{name}.{language}.{theme}.{viewport['width']}.png", full_page=True)
        assert found.said == []
        assert len(found.hosts) == 1


def test_a_second_person_approves_by_hand(rule: Any, window: Callable[..., Window]) -> None:
    rows.succeed_one("i1", flow=undoable())
    request = ask(actor="ana")
    found = window()
    page = found.open(reverse("admin:index"))

    page.get_by_role("link", name="Await your approval").click()
    page.get_by_role("link", name=str(request), exact=True).click()
    page.get_by_role("button", name="Approve…").click()
    page.get_by_label("Remark").fill("I have seen the parcel")
    page.locator(".submit-row .default").click()
    page.get_by_text("1 done, 0 refused").wait_for()

    assert (stored(request).decided_by, undoing()) == ("root", "running")
    page = found.open(reverse("admin:transactions_transaction_change", args=(Transaction.objects.get().pk,)))
    page.get_by_text("approved by a second person").first.wait_for()
    assert found.said == []
