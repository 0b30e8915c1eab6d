"""Batches in the console: from a list or a group to a preview, from there to a batch, and how it is steered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dist_task.batches.admin import OPERATIONS
from dist_task.batches.models import Batch, BatchItem
from dist_task.engine.batches.table import VERBS
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.admin.conftest import HOSTILE
from tests.batches.conftest import fail_many, make, run_all, stored
from tests.commands import rows
from transactions.models import Transaction

INBOX = "admin:exceptions_app_exceptionrecord_changelist"
TRANSACTIONS = "admin:transactions_transaction_changelist"
BATCHES = "admin:batches_batch_changelist"
HEAVIEST, MOST_QUERIES, MOST_TRIED = 100_000, 12, 600  # twenty rows of a preview are tried


def new(target: str = "exceptions", verb: str = "retry", query: str = "") -> str:
    return reverse("admin:batch_new", args=(target, verb)) + query


def page_of(batch: Batch, query: str = "") -> str:
    return reverse("admin:batches_batch_change", args=(batch.pk,)) + query


TRY = {"try": "yes", "rate": "20"}
"""Nobody has to say why before it is done."""


def tried(answer: Any) -> Any:
    assert answer.context["found"].is_tried
    return answer


def form(**values: object) -> dict[str, object]:
    return {"remark": "they are back", "rate": "50", **values}


def test_a_preview_says_how_many_and_what_would_be_refused_and_changes_nothing(root: Client, flow: Flow) -> None:
    fail_many(30, flow=flow)
    rows.succeed_one("good", flow=flow)
    address = new("transactions", "retry", "?flow_name=orders")

    counted = root.get(address).content.decode()
    tried = root.post(address, TRY)

    assert "31 rows match." in counted
    assert "not tried yet" in counted
    assert "would be refused" not in counted
    assert not tried.context["form"].errors  # nobody has to say why before it is done
    text = tried.content.decode()
    assert "31 rows match." in text
    assert "all would be done" in text
    assert "all would be refused" in text
    assert "only a failed transaction can be retried; good is success" in text
    assert not Batch.objects.exists()
    assert Transaction.objects.filter(status="failed").count() == 30


def test_all_that_match_become_a_batch_in_the_name_of_who_asked(sign_in: Callable[..., Client], flow: Flow) -> None:
    fail_many(30, flow=flow)
    other = rows.fail_one("other", flow=rows.make_flow(name="refunds"))
    client = sign_in("supervisor")
    listed = client.get(reverse(INBOX) + "?flow_name=orders").content.decode()
    address = new("exceptions", "retry", "?flow_name=orders")
    assert f'href="{address}"' in listed

    seen = client.get(address).context["found"]
    answer = client.post(address, form(delay="0", newest=seen.newest_id))

    batch = Batch.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page_of(batch))
    assert (batch.total, batch.created_by, batch.remark) == (30, "supervisor", "they are back")
    assert batch.selection == {"filter": {"status": "open", "flow_name": "orders"}}
    assert batch.parameters == {"delay": 0}
    assert not BatchItem.objects.filter(target_id=other.pk).exists()


def test_what_fails_after_the_preview_is_not_in_the_batch(root: Client, flow: Flow) -> None:
    fail_many(3, flow=flow)
    newest = root.get(new()).context["found"].newest_id
    rows.fail_one("later", flow=flow)

    tried = root.post(new(), {**TRY, "newest": newest}).context["found"]
    root.post(new(), form(newest=newest))

    assert tried.count == Batch.objects.get().total == 3


def test_many_selected_rows_lead_to_a_batch_and_few_do_not(root: Client, flow: Flow) -> None:
    fail_many(21, flow=flow)
    ids = list(ExceptionRecord.objects.order_by("id").values_list("pk", flat=True))

    many = root.post(reverse(INBOX), {"action": "retry", "_selected_action": ids})
    few = root.post(reverse(INBOX), {"action": "retry", "_selected_action": ids[:20]})

    assert many.status_code == 302
    assert few.status_code == 200
    root.post(many["Location"], form())
    batch = Batch.objects.get()
    assert (batch.total, batch.selection) == (21, {"ids": 21})


def test_a_group_is_retried_as_a_batch(root: Client, flow: Flow) -> None:
    fail_many(3, flow=flow)
    rows.fail_one("other", flow=flow, code="OTHER")

    for page in (reverse("admin:exception_groups"), reverse("admin:index")):
        assert "?status=open&amp;fingerprint=f1" in root.get(page).content.decode()
    root.post(new(query="?status=open&fingerprint=f1"), form())

    assert Batch.objects.get().total == 3


def test_parameters_count_in_the_preview_and_in_the_batch(root: Client) -> None:
    rows.fail_one("a", flow=rows.make_flow(strategy="no_retry"))

    refused = root.post(new(), TRY).context["found"].groups[0].refused
    again = root.post(new(), {**TRY, "force": "on"}).context["found"].groups[0].refused
    root.post(new(), form(force="on"))

    assert (refused, again) == (1, 0)
    assert run_all(Batch.objects.get()).done == 1


def test_each_verb_asks_in_the_words_of_its_page_for_a_few_rows(root: Client) -> None:
    for verb, fields in VERBS.items():
        form = root.get(new(*verb, "?ids=1")).context["form"]
        single = OPERATIONS[verb].form.base_fields
        asked = {name: single[keyword] for name, keyword in fields.parameters.items()}

        assert list(form.fields) == [*asked, "rate", "remark"]
        for name, field in asked.items():
            assert (form.fields[name].label, form.fields[name].help_text) == (field.label, field.help_text)


@pytest.mark.parametrize("values", [{"remark": " "}, {"rate": "0"}, {"delay": "-1"}])
def test_an_incomplete_form_makes_no_batch(root: Client, record: ExceptionRecord, values: dict[str, str]) -> None:
    answer = root.post(new(), form(**values))

    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?status=nonsense", "nonsense"),
        ("?flow_name=nobody", "Nothing matches"),
        ("?ids=a,b", "Nothing matches"),
        ("?after=3&p=1", "1 row matches"),
    ],
)
def test_odd_selections_are_said(root: Client, record: ExceptionRecord, query: str, said: str) -> None:
    answer = root.get(new(query=query))

    assert answer.status_code == 200
    assert said in answer.content.decode()


@pytest.mark.parametrize("role", ["viewer", "operator", "author"])
def test_who_may_not_do_it_in_bulk_sees_no_way_to_it(role: str, sign_in: Callable[..., Client], flow: Flow) -> None:
    fail_many(25, flow=flow)
    client = sign_in(role)
    batch = make()

    assert client.get(new()).status_code == 403
    assert client.post(new(), form()).status_code == 403
    assert "as a batch" not in client.get(reverse(INBOX)).content.decode()
    assert "Retry group" not in client.get(reverse("admin:exception_groups")).content.decode()
    assert client.get(page_of(batch)).status_code == 200
    steered = client.post(reverse(BATCHES), {"action": "cancel", "_selected_action": batch.pk, "confirmed": "yes"})
    assert steered.status_code == 403
    assert stored(batch).status == "running"


def test_an_operator_still_does_many_on_one_page(sign_in: Callable[..., Client], flow: Flow) -> None:
    fail_many(21, flow=flow)
    ids = list(ExceptionRecord.objects.values_list("pk", flat=True))

    answer = sign_in("operator").post(reverse(INBOX), {"action": "retry", "_selected_action": ids})

    assert answer.status_code == 200
    assert b"21 rows" in answer.content


@pytest.mark.parametrize(("target", "verb"), [("exceptions", "cancel"), ("flows", "retry"), ("x", "y")])
def test_there_is_no_page_for_what_no_batch_does(root: Client, target: str, verb: str) -> None:
    assert root.get(new(target, verb)).status_code == 404


def test_a_batch_is_paused_resumed_and_cancelled_on_its_page(root: Client, flow: Flow) -> None:
    fail_many(3, flow=flow)
    batch = make()
    for action, after in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert f'value="{action}"' in root.get(page_of(batch)).content.decode()
        asked = root.post(reverse(BATCHES), {"action": action, "_selected_action": batch.pk})
        assert b'name="remark"' in asked.content
        root.post(
            reverse(BATCHES), {"action": action, "_selected_action": batch.pk, "confirmed": "yes", "remark": "why"}
        )
        assert stored(batch).status == after

    text = root.get(page_of(batch)).content.decode()
    assert "3 items had not begun, and were left as they were." in text
    assert 'value="resume"' not in text


def test_the_page_shows_results_and_filters_them(root: Client, flow: Flow) -> None:
    fail_many(60, flow=flow)
    everything = ExceptionRecord.objects.all()
    run_all(make(rows=everything.filter(transaction__instance_id="many-7")))
    batch = run_all(make(rows=everything, remark=HOSTILE))

    whole_page = root.get(page_of(batch))
    refused = root.get(page_of(batch, "?result=refused"))

    text = whole_page.content.decode()
    assert "60 of 60 (done: 59, refused: 1)" in text
    assert HOSTILE not in text
    assert len(whole_page.context["items"]) == 50
    assert len(root.get(page_of(batch, whole_page.context["older"])).context["items"]) == 10
    ((item, _state, _url),) = refused.context["items"]
    assert (item.name, "already" in item.message) == ("many-7", True)
    export = root.get(refused.context["export_url"])
    assert export["Content-Disposition"] == f'attachment; filename="batch-{batch.pk}.csv"'
    assert len(export.content.decode().splitlines()) == 2


def test_the_live_dot_notices_each_item(root: Client, flow: Flow) -> None:
    fail_many(2, flow=flow)
    batch = make()
    etag = root.get(page_of(batch)).context["live_etag"]
    live = reverse("admin:live") + f"?of=batch:{batch.pk}"
    assert root.get(live, headers={"If-None-Match": etag}).status_code == 304

    run_all(batch)

    assert root.get(live, headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("query", ["", "?status=refused", "?status=x"])
def test_an_export_of_nothing_is_not_found(root: Client, query: str) -> None:
    assert root.get(reverse("admin:batch_export", args=(2**70,)) + query).status_code == 404


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.large)])
def test_no_page_on_the_way_is_slow_or_heavy(root: Client, flow: Flow, count: int) -> None:
    fail_many(count, flow=flow)
    took = {}

    def timed(name: str, ask: Callable[[], object], *, most: int = MOST_QUERIES) -> None:
        began = time.monotonic()
        with CaptureQueriesContext(connection) as asked:
            answer = ask()
        took[name] = time.monotonic() - began
        assert len(asked) <= most, f"{name}: {len(asked)}"
        assert len(answer.content) <= HEAVIEST, name  # type: ignore[attr-defined]

    root.get(new())  # the cache of permissions is full by then
    timed("preview", lambda: root.get(new()))
    timed("try", lambda: tried(root.post(new(), TRY)), most=MOST_TRIED)
    timed("make", lambda: root.post(new(), form()))
    timed("page", lambda: root.get(page_of(Batch.objects.get())))

    assert Batch.objects.get().total == count
    assert max(took.values()) < 10, took  # wide: for what grows with the set, not for a busy machine


def test_what_is_filled_in_wrongly_is_said_and_nothing_is_tried(root: Client, record: ExceptionRecord) -> None:
    answer = root.post(new("exceptions", "skip"), {**TRY, "output": '{"a":'})

    assert "output" in answer.context["form"].errors
    assert not answer.context["found"].is_tried


@pytest.mark.parametrize(("verb", "may"), [("retry", True), ("assign", False)])
def test_it_is_tried_at_once_where_that_says_something(verb: str, may: bool, root: Client, flow: Flow) -> None:
    """An empty name would mean: nobody."""
    fail_many(1, flow=flow)

    assert ('data-try="now"' in root.get(new("exceptions", verb)).content.decode()) is may


@pytest.mark.parametrize(("target", "verb"), VERBS)
def test_each_verb_has_a_form_before_anything_is_filled_in(target: str, verb: str, root: Client, flow: Flow) -> None:
    fail_many(1, flow=flow)

    answer = root.get(new(target, verb, "?status=failed" if target == "transactions" else ""))

    assert "refusal" not in answer.context
    assert 'name="remark"' in answer.content.decode()
