"""The live dot asks for a few bytes, and the jump box knows what an id means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.commands import rows

LIVE, JUMP = "/admin/live/", "/admin/jump/"


def test_nothing_new_is_a_304_without_a_body(root: Client, record: ExceptionRecord) -> None:
    first = root.get(LIVE, {"of": f"transaction:{record.transaction_id}"})
    again = root.get(LIVE, {"of": f"transaction:{record.transaction_id}"}, headers={"If-None-Match": first["ETag"]})

    assert first.json()["needs_person"] == "1"
    assert (again.status_code, again.content) == (304, b"")


def test_a_change_of_the_transaction_is_news(root: Client, flow: Flow) -> None:
    txn = rows.start_one("n", flow=flow)
    first = root.get(LIVE, {"of": f"transaction:{txn.pk}"})
    rows.claim("n")

    again = root.get(LIVE, {"of": f"transaction:{txn.pk}"}, headers={"If-None-Match": first["ETag"]})

    assert again.status_code == 200
    assert again["ETag"] != first["ETag"]


def test_a_page_knows_the_mark_that_it_was_made_with(root: Client, record: ExceptionRecord) -> None:
    page = root.get(reverse("admin:transactions_transaction_change", args=(record.transaction_id,)))

    answer = root.get(
        LIVE, {"of": f"transaction:{record.transaction_id}"}, headers={"If-None-Match": page.context["live_etag"]}
    )

    assert answer.status_code == 304


@pytest.mark.parametrize("of", ["", "overview", "transaction:", "transaction:x", "transaction:" + "9" * 30, "other:1"])
def test_whatever_is_asked_for_is_answered(of: str, root: Client) -> None:
    assert root.get(LIVE, {"of": of}).status_code == 200


def test_a_visitor_hears_nothing(db: None) -> None:
    assert Client().get(LIVE).status_code == 302


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("order_1", "/admin/transactions/transaction/{pk}/change/"),
        (" order_1 ", "/admin/transactions/transaction/{pk}/change/"),
        ("{pk}", "/admin/transactions/transaction/{pk}/change/"),
        ("order_1_pay", "/admin/transactions/transaction/{pk}/change/?task=pay#task"),
        ("order", "/admin/transactions/transaction/?instance_id_prefix=order"),
        ("", "/admin/transactions/transaction/?instance_id_prefix="),
        ("9" * 40, "/admin/transactions/transaction/?instance_id_prefix=" + "9" * 40),
    ],
)
def test_an_id_leads_to_what_it_names(asked: str, target: str, root: Client, record: ExceptionRecord) -> None:
    answer = root.get(JUMP, {"id": asked.format(pk=record.transaction_id)})

    assert answer["Location"] == target.format(pk=record.transaction_id)


def test_who_may_see_no_transactions_jumps_nowhere(sign_in: Callable[..., Client]) -> None:
    assert sign_in().get(JUMP, {"id": "x"}).status_code == 403
