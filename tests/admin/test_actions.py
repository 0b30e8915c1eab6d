"""Retry, handle and cancel: asked for on one page, confirmed, and answered row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.console.bulk import SMALL
from dist_task.models import TaskRun
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.commands import rows
from transactions.models import Transaction

INBOX = "admin:exceptions_app_exceptionrecord_changelist"
TRANSACTIONS = "admin:transactions_transaction_changelist"


def confirmed(action: str, *ids: int, **values: Any) -> dict[str, Any]:
    about = {"action": action, "_selected_action": list(ids), "confirmed": "yes", "remark": "as agreed"}
    return {**about, **values}


def test_asking_changes_nothing_and_says_what_would_happen(root: Client, record: ExceptionRecord) -> None:
    answer = root.post(reverse(INBOX), {"action": "handle", "_selected_action": record.pk})

    assert b"Nothing runs; automatic retries that are left are stopped." in answer.content
    record.refresh_from_db()
    assert record.status == "open"


def test_an_exception_is_handled_with_who_and_why(sign_in: Callable[..., Client], record: ExceptionRecord) -> None:
    operator = sign_in("operator")

    answer = operator.post(
        reverse(INBOX), confirmed("handle", record.pk, remark="paid by hand", resolution="fixed_externally")
    )

    record.refresh_from_db()
    assert answer.status_code == 200
    assert (record.status, record.remark, record.resolution) == (
        "handled",
        "paid by hand",
        "fixed_externally",
    )
    assert record.handled_by == "operator"
    assert b"1 done, 0 refused" in answer.content


def test_an_exception_is_retried_now(root: Client, record: ExceptionRecord) -> None:
    answer = root.post(reverse(INBOX), confirmed("retry", record.pk, delay_seconds="0", remark="again"))

    record.refresh_from_db()
    assert record.status == "retrying"
    assert rows.status_of("order_1") == "pending"
    assert b"retry scheduled for" in answer.content
    assert record.transaction.log.latest("id").actor == "root"


def test_each_row_has_its_own_result(root: Client, flow: Flow) -> None:
    first, second = rows.fail_one("a", flow=flow), rows.fail_one("b", flow=flow)
    root.post(reverse(INBOX), confirmed("handle", first.pk, resolution="ignored"))

    answer = root.post(reverse(INBOX) + "?status=all", confirmed("handle", first.pk, second.pk, resolution="ignored"))

    text = answer.content.decode()
    assert "1 done, 1 refused" in text
    assert "was handled by root already" in text


def test_an_invalid_form_is_shown_again(root: Client, record: ExceptionRecord) -> None:
    answer = root.post(reverse(INBOX), confirmed("retry", record.pk, delay_seconds="-1"))

    assert b"Ensure this value is greater than or equal to 0." in answer.content
    record.refresh_from_db()
    assert record.status == "open"


def test_a_failed_transaction_is_retried(root: Client, record: ExceptionRecord) -> None:
    root.post(reverse(TRANSACTIONS), confirmed("retry", record.transaction_id, remark="they are up again"))

    assert rows.status_of("order_1") == "pending"
    assert record.transaction.log.latest("id").message == "they are up again"


def test_a_transaction_is_cancelled(root: Client, flow: Flow) -> None:
    txn = rows.start_one("c", flow=flow)

    answer = root.post(reverse(TRANSACTIONS), confirmed("cancel", txn.pk))

    assert rows.status_of("c") == "cancelled"
    assert b"it is cancelled now" in answer.content


def test_a_success_can_neither_be_retried_nor_cancelled(root: Client, flow: Flow) -> None:
    txn = rows.succeed_one("d", flow=flow)

    for action in ("retry", "cancel"):
        answer = root.post(reverse(TRANSACTIONS), confirmed(action, txn.pk))
        assert b"0 done, 1 refused" in answer.content
    assert rows.status_of("d") == "success"


def test_what_undoing_would_do_is_said_before_it_is_done(sign_in: Callable[..., Client]) -> None:
    task = {"id": "pay", "type": "noop", "compensate": {}}
    flow = register(name="undoable", flow_type="t", definition={"tasks": [task]}, create_user="admin")
    txn = rows.succeed_one("e", flow=flow)
    supervisor = sign_in("supervisor")

    asked = supervisor.post(reverse(TRANSACTIONS), {"action": "compensate", "_selected_action": txn.pk})
    assert b"undone in this order: pay" in asked.content
    done = supervisor.post(reverse(TRANSACTIONS), confirmed("compensate", txn.pk, remark="sent back"))

    assert b"it is being undone" in done.content
    txn.refresh_from_db()
    assert (txn.status, txn.compensation) == ("success", "running")
    assert b"Due for" in supervisor.get(reverse("admin:transactions_transaction_change", args=[txn.pk])).content


@pytest.mark.parametrize(("action", "kept"), [("approve", True), ("reject", False)])
def test_what_waits_for_an_approval_is_decided(root: Client, action: str, kept: bool) -> None:
    task = {"id": "pay", "type": "approval"}
    flow = register(name="asked", flow_type="t", definition={"tasks": [task]}, create_user="admin")
    txn = rows.wait_one("g", flow=flow)
    page = root.get(reverse("admin:transactions_transaction_change", args=[txn.pk])).content
    assert b"It waits: pay for an approval." in page and b"Approve" in page

    seen = {f"seen-{txn.pk}": str(TaskRun.objects.get(transaction=txn).pk)}
    answer = root.post(reverse(TRANSACTIONS), confirmed(action, txn.pk, remark="so be it", **seen))

    assert b"decided: pay" in answer.content
    assert TaskRun.objects.get(transaction=txn).answer["ok"] is kept
    assert txn.log.latest("id").actor == "root"


@pytest.fixture
def asking(db: None) -> Flow:
    task = {"id": "pay", "type": "approval"}
    return register(name="asking", flow_type="t", definition={"tasks": [task]}, create_user="admin")


def asked_about(root: Client, *txns: Transaction, action: str = "approve") -> Any:
    return root.post(reverse(TRANSACTIONS), {"action": action, "_selected_action": [txn.pk for txn in txns]})


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_who_decides_reads_what_the_flow_asks_and_with_what_it_was_started(
    action: str, asking: Flow, root: Client
) -> None:
    txn = rows.wait_one("h", flow=asking, message="Refund 7 to <b>ana</b>?")

    page = asked_about(root, txn, action=action)

    ((_row, _link, told),) = page.context["rows"]
    assert told.text == "asking v1, running; waits for: pay"
    assert [tuple(each) for each in told.details] == [("pay", "Refund 7 to <b>ana</b>?"), ("Started with", '{"n": 1}')]
    assert b"<b>ana" not in page.content


def test_the_longest_message_that_a_flow_may_give_is_read_whole(asking: Flow, root: Client) -> None:
    message = "&退" * 1_000

    page = asked_about(root, rows.wait_one("long", flow=asking, message=message))

    ((_row, _link, told),) = page.context["rows"]
    assert told.details[0].text == message


def test_a_message_hides_nothing_beside_it(asking: Flow, root: Client) -> None:
    """It may be as long as params make it, and say what it wants."""
    txn = rows.wait_one("liar", flow=asking, message="Started with {} " + "<" * 100_000)
    TaskRun.objects.create(transaction=txn, task_id="payout", status="waiting", waits_for="approval", attempt=1)

    page = asked_about(root, txn)

    ((_row, _link, told),) = page.context["rows"]
    assert told.text == "asking v1, running; waits for: pay, payout"
    assert [each.name for each in told.details] == ["pay", "Started with"]
    assert "cut after" in told.details[0].text and told.details[1].text == '{"n": 1}'
    assert len(page.content) < 100_000


def test_many_questions_stay_a_light_page(asking: Flow, root: Client, django_assert_max_num_queries: Any) -> None:
    txns = [rows.wait_one(f"many_{n}", flow=asking, message="<" * 100_000) for n in range(SMALL + 1)]

    with django_assert_max_num_queries(12):
        page = asked_about(root, *txns[:SMALL])

    assert len(page.content) < 100_000
    assert all(len(told.details) == 2 for _row, _link, told in page.context["rows"])
    assert not any(told.details for _row, _link, told in asked_about(root, *txns).context["rows"])


def test_an_operator_is_not_offered_to_undo(sign_in: Callable[..., Client], flow: Flow) -> None:
    txn = rows.succeed_one("f", flow=flow)
    operator = sign_in("operator")

    page = operator.get(reverse("admin:transactions_transaction_change", args=[txn.pk]))
    operator.post(reverse(TRANSACTIONS), confirmed("compensate", txn.pk))

    assert b"Compensate" not in page.content
    txn.refresh_from_db()
    assert txn.compensation == "none"


@pytest.mark.parametrize("role", ["viewer", "submitter", "author"])
@pytest.mark.parametrize(("address", "action"), [(INBOX, "retry"), (INBOX, "handle"), (TRANSACTIONS, "cancel")])
def test_those_who_only_look_are_refused(
    role: str, address: str, action: str, sign_in: Callable[..., Client], record: ExceptionRecord
) -> None:
    client = sign_in(role)
    pk = record.pk if address == INBOX else record.transaction_id

    answer = client.post(reverse(address), confirmed(action, pk, resolution="ignored"))

    assert answer.status_code == 403
    record.refresh_from_db()
    assert (record.status, rows.status_of("order_1")) == ("open", "failed")


def test_those_who_only_look_see_no_buttons(sign_in: Callable[..., Client], record: ExceptionRecord) -> None:
    page = reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,))

    seen = {role: b'class="act"' in sign_in(role).get(page).content for role in ("viewer", "operator")}

    assert seen == {"viewer": False, "operator": True}


def test_an_action_is_no_get(root: Client, record: ExceptionRecord) -> None:
    root.get(reverse(INBOX), {"status": "all"})
    answer = root.get(reverse(INBOX), confirmed("handle", record.pk, resolution="ignored"))

    record.refresh_from_db()
    assert answer.status_code in (302, 200)
    assert record.status == "open"


def test_an_action_needs_the_csrf_token(record: ExceptionRecord, root: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = root.cookies

    answer = strict.post(reverse(INBOX), confirmed("handle", record.pk, resolution="ignored"))

    record.refresh_from_db()
    assert answer.status_code == 403
    assert record.status == "open"


def test_too_many_rows_at_once_are_refused(root: Client, flow: Flow) -> None:
    Transaction.objects.bulk_create([Transaction(instance_id=f"m{n}", flow=flow) for n in range(201)])
    everything = {**confirmed("cancel", Transaction.objects.first().pk), "select_across": "1", "index": "0"}

    answer = root.post(reverse(TRANSACTIONS), everything, follow=True)

    assert b"At most 200 rows at once" in answer.content
    assert not Transaction.objects.filter(status="cancelled").exists()
