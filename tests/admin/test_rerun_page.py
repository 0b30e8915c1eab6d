"""The page on which an ended transaction is run again, and what its own page says afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.console.rerun_page import MOST_CHOSEN
from dist_task.engine.operate import rerun_transaction
from flows.models import Flow
from flows.register import register
from tests.commands import rows
from transactions.models import Transaction

from .conftest import HOSTILE


def page_of(txn: Transaction, query: str = "") -> str:
    return reverse("admin:transaction_rerun", args=(txn.pk,)) + query


def own_page(txn: Transaction) -> str:
    return reverse("admin:transactions_transaction_change", args=(txn.pk,))


@pytest.fixture
def ended(flow: Flow) -> Transaction:
    return rows.succeed_one("order_1", flow=flow)


def test_it_says_what_would_happen_and_does_it(root: Client, ended: Transaction) -> None:
    shown = root.get(page_of(ended, "?task=pay"))
    assert shown.context["plan"].done == ("pay",)
    assert b"Does its work a second time" in shown.content

    answer = root.post(
        page_of(ended, "?task=pay"), {"remark": "wrong price", "new_id": "order_1:r2", "force": "on"}, follow=True
    )

    again = Transaction.objects.get(rerun_of=ended)
    assert answer.redirect_chain[-1][0] == own_page(again)
    assert b"It runs again as order_1:r2" in answer.content
    assert b"Run again of" in answer.content


def test_it_is_refused_without_a_yes_where_work_is_done_again(root: Client, ended: Transaction) -> None:
    answer = root.post(page_of(ended), {"remark": "wrong price", "new_id": "order_1:r2"})

    assert b"force overrides that" in answer.content
    assert b"wrong price" in answer.content, "what was typed is kept"
    assert Transaction.objects.count() == 1


def test_what_has_done_nothing_needs_no_yes(root: Client, flow: Flow) -> None:
    failed = rows.fail_one("order_1", flow=flow).transaction

    page = root.get(page_of(failed))
    assert "force" not in page.context["form"].fields
    root.post(page_of(failed), {"remark": "mended", "new_id": "order_1:r2"})

    assert Transaction.objects.get(rerun_of=failed).instance_id == "order_1:r2"


def test_the_old_one_says_that_it_goes_on_elsewhere(root: Client, flow: Flow) -> None:
    failed = rows.fail_one("order_1", flow=flow).transaction
    again = rerun_transaction(failed.instance_id, actor="ann", remark="mended")

    text = root.get(own_page(failed)).content.decode()

    assert "It was run again as order_1:r2" in text
    assert own_page(again) in text
    for verb in ('value="retry"', 'value="cancel"', 'value="compensate"', "/rerun/"):
        assert verb not in text, verb
    assert 'value="cancel"' in root.get(own_page(again)).content.decode()


def test_what_cannot_be_run_again_says_why_and_offers_nothing(root: Client, flow: Flow) -> None:
    running = rows.start_one("order_1", flow=flow)

    page = root.get(page_of(running))

    assert page.context["plan"] is None
    assert b"cannot be run again now" in page.content
    assert b'name="remark"' not in page.content
    assert b"/rerun/" not in root.get(own_page(running)).content
    assert root.post(page_of(running), {"remark": "x", "new_id": "y"}).status_code == 200
    assert Transaction.objects.count() == 1


@pytest.mark.parametrize("query", ["?task=nobody", f"?task={HOSTILE}", "?task=" * (MOST_CHOSEN + 2)])
def test_tasks_that_there_are_not_are_refused(root: Client, ended: Transaction, query: str) -> None:
    page = root.get(page_of(ended, query))

    assert (page.status_code, page.context["plan"]) == (200, None)
    assert b"<script>alert" not in page.content


def test_many_tasks_are_offered_up_to_a_limit(root: Client) -> None:
    tasks = [{"id": "pay", "type": "noop"}, *({"id": f"t{n}", "type": "noop"} for n in range(300))]
    flow = register(name="wide", flow_type="t", definition={"tasks": tasks}, create_user="t")
    failed = rows.fail_one("order_1", flow=flow).transaction

    page = root.get(page_of(failed, "?task=pay&task=t299"))

    assert len(page.context["choices"]) == 201
    assert b"Only the first tasks are offered here" in page.content
    assert len(page.content) < 100_000


@pytest.mark.parametrize("role", ["viewer", "operator", "author"])
def test_who_may_not_sees_no_button_and_no_page(sign_in: Callable[..., Client], ended: Transaction, role: str) -> None:
    client = sign_in(role)

    assert client.get(page_of(ended)).status_code == 403
    assert b"/rerun/" not in client.get(own_page(ended)).content


def test_a_supervisor_may(sign_in: Callable[..., Client], ended: Transaction) -> None:
    client = sign_in("supervisor")

    assert b"/rerun/" in client.get(own_page(ended)).content
    assert client.get(page_of(ended)).status_code == 200


def test_several_are_run_again_from_the_list(root: Client, flow: Flow) -> None:
    failed = [rows.fail_one(f"order_{n}", flow=flow).transaction for n in range(3)]
    address = reverse("admin:transactions_transaction_changelist")
    chosen = {"action": "rerun", "_selected_action": [str(txn.pk) for txn in failed]}

    asked = root.post(address, chosen)
    assert b"From the tasks" in asked.content
    done = root.post(address, {**chosen, "confirmed": "yes", "tasks": "pay", "remark": "mended"})

    assert b"3 done, 0 refused" in done.content
    assert Transaction.objects.filter(rerun_of__isnull=False).count() == 3


def test_without_named_tasks_all_of_them_run_again(root: Client, flow: Flow) -> None:
    failed = [rows.fail_one(f"order_{n}", flow=flow).transaction for n in range(3)]
    chosen = {"action": "rerun", "_selected_action": [str(txn.pk) for txn in failed]}
    address = reverse("admin:transactions_transaction_changelist")

    done = root.post(address, {**chosen, "confirmed": "yes", "tasks": " ", "remark": "mended"})

    assert b"3 done, 0 refused" in done.content
    assert Transaction.objects.filter(rerun_of__isnull=False).count() == 3
