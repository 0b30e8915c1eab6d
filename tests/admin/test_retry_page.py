"""Retrying with another input, or at a time: what is asked, what is shown before it is done, and who wins."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dist_task.engine import operate
from dist_task.models import ExecutionLog, TaskRun
from exceptions_app.models import ExceptionRecord
from exceptions_app.retry_page import LONGEST_INPUT, zone_named
from flows.models import Flow, TaskDefinition
from flows.register import register
from tests.admin.conftest import HOSTILE
from tests.commands import rows

OLD = {"amount": 100, "to": {"iban": "DE00"}}


@pytest.fixture
def record(flow: Flow) -> ExceptionRecord:
    found = rows.fail_one("edit_1", flow=flow)
    TaskRun.objects.filter(pk=found.run_id).update(input=OLD)
    return ExceptionRecord.objects.get(pk=found.pk)


def address(record: ExceptionRecord) -> str:
    return reverse("admin:exception_retry", args=(record.pk,))


def asked(client: Client, record: ExceptionRecord, **values: Any) -> Any:
    sent = {"input": '{"amount": 100, "to": {"iban": "DE00"}}', "remark": "they told us", **values}
    return client.post(address(record), sent)


def done(client: Client, record: ExceptionRecord, **values: Any) -> Any:
    """Through both pages, as a browser would."""
    shown = asked(client, record, **values)
    assert shown.context["outlook"] is not None, shown.context["form"].errors
    return asked(client, record, confirmed="yes", seen=shown.context["seen"], **values)


def input_of(record: ExceptionRecord) -> Any:
    return TaskRun.objects.values_list("input", flat=True).get(pk=record.run_id)


def test_the_page_shows_the_input_that_the_task_has(root: Client, record: ExceptionRecord) -> None:
    page = root.get(address(record))

    assert page.status_code == 200
    assert "&quot;iban&quot;: &quot;DE00&quot;" in page.content.decode()


def test_the_difference_is_shown_before_anything_happens(root: Client, record: ExceptionRecord) -> None:
    page = asked(root, record, input='{"amount": 70, "to": {"iban": "DE00"}}', delay_seconds="0")

    lines = [
        (line.kind, line.text.strip())
        for line in page.context["outlook"].changes.lines
        if line.kind in ("added", "removed")
    ]
    assert lines == [("removed", '"amount": 100,'), ("added", '"amount": 70,')]
    assert b"It runs at once." in page.content
    record.refresh_from_db()
    assert (record.status, input_of(record)) == ("open", OLD)
    assert not ExecutionLog.objects.filter(transaction=record.transaction_id, event="retried").exists()


def test_the_task_is_given_what_was_typed_and_the_log_keeps_what_it_had(root: Client, record: ExceptionRecord) -> None:
    page = done(root, record, input='{"amount": 70}', delay_seconds="0")

    assert page["Location"] == reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,))
    record.refresh_from_db()
    assert (record.status, input_of(record)) == ("retrying", {"amount": 70})
    entry = ExecutionLog.objects.get(transaction=record.transaction_id, event="retried")
    assert (entry.actor, entry.message) == ("root", "they told us")
    assert (entry.detail["before"], entry.detail["after"]) == ({"input": OLD}, {"input": {"amount": 70}})
    assert b"Retry scheduled for" in root.get(page["Location"]).content


def test_the_entry_in_the_log_draws_what_changed(root: Client, record: ExceptionRecord) -> None:
    done(root, record, input='{"amount": 70, "to": {"iban": "DE00"}}', delay_seconds="0")
    entry = ExecutionLog.objects.get(transaction=record.transaction_id, event="retried")

    page = root.get(reverse("admin:dist_task_executionlog_change", args=(entry.pk,))).content.decode()
    other = root.get(
        reverse("admin:dist_task_executionlog_change", args=(record.transaction.log.earliest("id").pk,))
    ).content.decode()

    assert 'class="removed"' in page and 'class="added"' in page
    assert "What changed" in page and "What changed" not in other


def test_an_input_that_says_the_same_is_not_replaced(root: Client, record: ExceptionRecord) -> None:
    page = done(root, record, input='{"to": {"iban": "DE00"},\r\n "amount": 100}', delay_seconds="0")

    assert page.status_code == 302
    assert "before" not in ExecutionLog.objects.get(transaction=record.transaction_id, event="retried").detail


def test_true_is_another_input_than_one(root: Client, record: ExceptionRecord) -> None:
    TaskRun.objects.filter(pk=record.run_id).update(input={"express": 1})

    done(root, record, input='{"express": true}', delay_seconds="0")

    assert input_of(record) == {"express": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Enter a valid JSON"),
        ("", "must be an object"),
        ("[1]", "must be an object"),
        ("null", "must be an object"),
        ('{"a": "\\u0000"}', "a: "),
        ('{"a": "\\ud800"}', "a: "),
        ('{"a": NaN}', "a: "),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "nested"),
        ("[" * 50_000, "is not JSON"),
        (f'{{"a": {"9" * 5_000}}}', "is not JSON"),
        ('{"a": "' + "x" * LONGEST_INPUT + '"}', "is too large for this page"),
        ('{"a": "\0"}', "valid JSON"),
    ],
)
def test_what_is_no_input_is_refused_and_kept_as_typed(
    text: str, said: str, root: Client, record: ExceptionRecord
) -> None:
    page = asked(root, record, input=text)

    assert page.status_code == 200
    assert page.context["outlook"] is None
    assert said in str(page.context["form"].errors["input"])
    assert page.context["form"]["input"].value() == text
    assert input_of(record) == OLD


def test_a_field_of_the_registry_refuses_and_converts(root: Client) -> None:
    fields = [{"name": "amount", "type": "int", "required": True}]
    TaskDefinition.objects.create(name="deduct_typed", type="noop", inputs=fields)
    task = {"id": "pay", "task_name": "deduct_typed", "retry": {"strategy": "manual"}}
    flow = register(name="typed", flow_type="t", definition={"tasks": [task]}, create_user="t")
    record = rows.fail_one("typed_1", flow=flow)
    TaskRun.objects.filter(pk=record.run_id).update(input={"amount": 1})

    refused = asked(root, record, input='{"amount": "many"}')
    done(root, record, input='{"amount": "7"}', delay_seconds="0")

    assert "input.amount: must be a whole number" in str(refused.context["form"].errors["input"])
    assert input_of(record) == {"amount": 7}


def test_what_may_have_been_executed_takes_force(root: Client, record: ExceptionRecord) -> None:
    TaskRun.objects.filter(pk=record.run_id).update(maybe_executed=True)

    refused = asked(root, record, input="{}")
    done(root, record, input="{}", force="on", delay_seconds="0")

    assert "may have been executed with the input that it had" in str(refused.context["form"].non_field_errors())
    assert input_of(record) == {}


def test_a_reason_is_asked_for(root: Client, record: ExceptionRecord) -> None:
    page = asked(root, record, remark="  ")

    assert "remark" in page.context["form"].errors
    assert page.context["outlook"] is None


def test_it_is_retried_at_the_time_in_the_zone_of_the_person(root: Client, record: ExceptionRecord) -> None:
    at = (timezone.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    local = at.astimezone(zone_named("Asia/Shanghai"))

    page = asked(root, record, at=f"{local:%Y-%m-%dT%H:%M}", zone="Asia/Shanghai")
    after = done(root, record, at=f"{local:%Y-%m-%dT%H:%M}", zone="Asia/Shanghai")

    said = root.get(after["Location"]).content.decode()
    assert f"Retry scheduled for {local:%Y-%m-%d %H:%M:%S} (Asia/Shanghai)" in said
    assert f"{local:%Y-%m-%d %H:%M:%S} (Asia/Shanghai), in 47 h 59 min" in page.context["outlook"].due
    record.refresh_from_db()
    assert (record.retry_next_at, input_of(record)) == (at, OLD)


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "../../etc/passwd", "America", "x" * 64, "/etc/localtime"])
def test_a_zone_that_is_none_is_the_consoles(zone: str, root: Client, record: ExceptionRecord, settings: Any) -> None:
    at = (timezone.now() + timedelta(days=1)).replace(second=0, microsecond=0)

    page = asked(root, record, at=f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}", zone=zone)

    assert f"{at:%Y-%m-%d %H:%M:%S} (UTC)" in page.context["outlook"].due


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"at": "2020-01-01T00:00"}, "at", "This time has passed."),
        ({"at": "0001-01-01T00:00+14:00"}, "at", "This time has passed."),
        ({"at": "9999-12-31T23:59"}, "at", "At most 30 days from now."),
        ({"at": "2026-03-29T02:30", "zone": "Europe/Berlin"}, "at", "interpreted in time zone Europe/Berlin"),
        ({"at": "soon"}, "at", "Enter a valid date/time."),
        ({"at": "\0"}, "at", "Enter a valid date/time."),
        ({"delay_seconds": "-1"}, "delay_seconds", "greater than or equal to 0"),
        ({"delay_seconds": str(30 * 86_400 + 1)}, "delay_seconds", "less than or equal to 2592000"),
        ({"delay_seconds": "nan"}, "delay_seconds", "Enter a number."),
    ],
)
def test_a_time_that_cannot_be_is_refused_with_a_sentence(
    values: dict[str, str], field: str, said: str, root: Client, record: ExceptionRecord
) -> None:
    page = asked(root, record, **values)

    assert page.context["outlook"] is None
    assert said in str(page.context["form"].errors[field])


def test_either_a_delay_or_a_time(root: Client, record: ExceptionRecord) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)

    page = asked(root, record, at=f"{at:%Y-%m-%dT%H:%M}", delay_seconds="5")

    assert "Say either a delay or a time, not both." in str(page.context["form"].errors["at"])


def test_the_second_operator_is_told(root: Client, sign_in: Callable[..., Client], record: ExceptionRecord) -> None:
    other = sign_in("operator")
    seen = {client: asked(client, record, input="{}").context["seen"] for client in (root, other)}

    first = asked(root, record, input='{"by": 1}', confirmed="yes", seen=seen[root])
    second = asked(other, record, input='{"by": 2}', confirmed="yes", seen=seen[other])

    assert first.status_code == 302
    assert "has changed since it was looked at" in str(second.context["form"].non_field_errors())
    assert second.context["form"]["input"].value() == '{"by": 2}'
    assert input_of(record) == {"by": 1}


def test_without_having_seen_the_difference_nothing_is_done(root: Client, record: ExceptionRecord) -> None:
    page = asked(root, record, input="{}", confirmed="yes")

    assert page.status_code == 200
    assert input_of(record) == OLD


@pytest.mark.django_db(transaction=True)
def test_of_operators_at_the_same_moment_one_wins(root: Client, record: ExceptionRecord) -> None:
    seen = asked(root, record, input="{}").context["seen"]
    clients, answers = [Client() for _ in range(4)], []
    for client in clients:
        client.force_login(User.objects.get(username="root"), backend="django.contrib.auth.backends.ModelBackend")
    start = threading.Barrier(len(clients))

    def act(number: int, client: Client) -> None:
        start.wait()
        page = asked(client, record, input=f'{{"by": {number}}}', confirmed="yes", seen=seen)
        answers.append((page.status_code, number))
        connection.close()

    threads = [threading.Thread(target=act, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ((_status, winner),) = [answer for answer in answers if answer[0] == 302]
    assert len(answers) == 4
    assert input_of(record) == {"by": winner}
    assert ExecutionLog.objects.filter(transaction=record.transaction_id, event="retried").count() == 1


def test_what_is_to_be_changed_again_is_kept(root: Client, record: ExceptionRecord) -> None:
    page = asked(root, record, input='{"a": 1}', again="yes", delay_seconds="30")

    assert page.context["outlook"] is None
    assert not page.context["form"].errors
    assert page.context["form"]["input"].value() == '{"a": 1}'


def test_what_was_handled_is_refused(root: Client, record: ExceptionRecord) -> None:
    operate.handle_exception(record.pk, actor="bo", remark="paid by hand")

    page = asked(root, record, input="{}")

    assert "was handled by bo already" in str(page.context["form"].non_field_errors())


def test_a_task_without_an_input_keeps_none(root: Client, record: ExceptionRecord) -> None:
    TaskRun.objects.filter(pk=record.run_id).update(input=None)

    done(root, record, input="", delay_seconds="0")

    assert input_of(record) is None


def test_an_input_that_is_too_large_for_the_page_is_left_alone(root: Client, record: ExceptionRecord) -> None:
    large = {"a": "<" * 500_000}
    TaskRun.objects.filter(pk=record.run_id).update(input=large)

    page = root.get(address(record))
    done(root, record, input="{}", delay_seconds="0")

    assert b"too large to be changed on this page" in page.content
    assert len(page.content) < 100_000
    assert input_of(record) == large


def test_the_difference_of_large_inputs_is_light(root: Client, record: ExceptionRecord) -> None:
    old, new = ({f"k{n}": f"<{n + by}>" for n in range(300)} for by in (0, 1))
    TaskRun.objects.filter(pk=record.run_id).update(input=old)

    page = asked(root, record, input=json.dumps(new))

    assert page.context["outlook"].changes.is_cut
    assert len(page.content) < 100_000


def test_hostile_inputs_are_text(root: Client, record: ExceptionRecord) -> None:
    TaskRun.objects.filter(pk=record.run_id).update(input={HOSTILE: HOSTILE})

    pages = [
        root.get(address(record)),
        asked(root, record, input=json.dumps({"a": HOSTILE + "\u202e"}), remark=HOSTILE),
    ]

    for page in pages:
        assert "&lt;script&gt;alert(1)" in page.content.decode()
        assert "<script>alert" not in page.content.decode()
    assert "\\u202e" in pages[1].content.decode()


@pytest.mark.parametrize("role", ["viewer", "submitter", "author"])
def test_those_who_only_look_are_refused(role: str, sign_in: Callable[..., Client], record: ExceptionRecord) -> None:
    client = sign_in(role)

    assert client.get(address(record)).status_code == 403
    assert asked(client, record, input="{}", confirmed="yes", seen="x").status_code == 403
    assert (
        address(record)
        not in client.get(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,))).content.decode()
    )


def test_the_panel_of_a_task_leads_to_what_can_be_done_about_it(
    root: Client, sign_in: Callable[..., Client], record: ExceptionRecord
) -> None:
    page = reverse("admin:transactions_transaction_change", args=(record.transaction_id,)) + "?task=pay"

    offered = root.get(page).content.decode()
    looked_at = sign_in("viewer").get(page).content.decode()
    operate.handle_exception(record.pk, actor="bo", remark="paid by hand")
    handled = root.get(page).content.decode()

    own = reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,))
    assert address(record) in offered and own in offered
    assert address(record) not in looked_at and own in looked_at
    assert address(record) not in handled


@pytest.mark.parametrize("pk", ["abc", "0", "9" * 30, "1.5"])
def test_an_exception_that_is_not_there_is_a_page(pk: str, root: Client) -> None:
    assert root.get(reverse("admin:exception_retry", args=(pk,))).status_code == 404
