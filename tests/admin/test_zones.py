"""Times are in the zone of whoever looks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.console.zones import COOKIE
from flows.models import Flow
from tests.commands import rows
from transactions.models import Transaction


@pytest.fixture
def page(flow: Flow) -> str:
    txn = rows.start_one("zoned", flow=flow)
    Transaction.objects.filter(pk=txn.pk).update(created_at=datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
    return reverse("admin:transactions_transaction_change", args=(txn.pk,))


@pytest.mark.parametrize(
    ("zone", "shown", "named"),
    [
        ("Asia/Shanghai", "2026-02-01 07:30:00", "Asia/Shanghai"),
        ("America/New_York", "2026-01-31 18:30:00", "America/New_York"),
        ("", "2026-01-31 23:30:00", "UTC"),
        ("Nowhere/Land", "2026-01-31 23:30:00", "UTC"),
        ("../../etc/passwd", "2026-01-31 23:30:00", "UTC"),
        ("%00", "2026-01-31 23:30:00", "UTC"),
        ("x" * 3000, "2026-01-31 23:30:00", "UTC"),
    ],
)
def test_the_browser_names_the_zone(root: Client, page: str, zone: str, shown: str, named: str) -> None:
    root.cookies[COOKIE] = zone

    text = root.get(page).content.decode()

    assert shown in text
    assert f"Times are those of {named}." in text


def test_the_zone_of_one_is_not_that_of_the_next(root: Client, page: str) -> None:
    root.cookies[COOKIE] = "Asia/Shanghai"
    root.get(page)
    del root.cookies[COOKIE]

    assert "2026-01-31 23:30:00" in root.get(page).content.decode()
