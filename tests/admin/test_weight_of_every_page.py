"""Whatever the console registers stays light with a history, also what nobody has thought of in test_weight.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dist_task.alerts.models import AlertRule, Channel, Subscription
from dist_task.console import site
from dist_task.console.bulk import SMALL
from dist_task.engine.batches.table import VERBS
from dist_task.four_eyes.models import ApprovalRequest
from exceptions_app.models import ExceptionRecord
from flows.models import Connection, Flow, TaskDefinition
from flows.secret_rows import store
from tests.admin.conftest import HOSTILE
from tests.admin.test_weight import HEAVIEST, MOST_QUERIES, SLOWEST_SECONDS, history, large
from tests.batches.conftest import make as make_batch
from transactions.models import Transaction

__all__ = ["history", "large"]  # fixtures
MANY = 60
"""Of what people write: more than a page of a list."""
MOST_TRIED = 500
"""Queries of a trial: it does to a few rows of each kind what the batch would do, and undoes that."""
DELIVERIES = """
    INSERT INTO alerts_delivery (key, channel_id, event, subject, payload, created_at, due_at)
    SELECT 'k' || id, %s, 'test', repeat('x', 200), jsonb_build_object('text', repeat('<', 20000)), now(), now()
    FROM transactions_transaction
"""
WORKERS = """
    INSERT INTO dist_task_worker (cluster, host, pid, lease_until)
    SELECT 'c' || n % 3, repeat('h', 200), n, now() + interval '1 hour' FROM generate_series(1, 100) n
"""


@pytest.fixture
def full(history: Flow) -> Flow:
    """As much of everything as there may be."""
    for number in range(MANY):
        name = f"{number}{HOSTILE}"
        channel = Channel.objects.create(name=name, kind="webhook", url=f"https://hooks.example/{'x' * 400}")
        AlertRule.objects.create(name=name, kind="exceptions").channels.add(*Channel.objects.all())
        Subscription.objects.create(channel=channel, flow_name=f"flow_{number}")
        TaskDefinition.objects.create(name=name, type="noop", description="d" * 200, inputs=[{"name": "n" * 900}])
        Connection.objects.create(name=name, kind="http", config={"base_url": "u" * 900}, description="d" * 200)
        store(f"SECRET_{number}", value="swordfish", actor="a" * 150)
        User.objects.create_user(f"user_{number}", email=f"{number}@{'x' * 200}.example").groups.add(
            *Group.objects.all()
        )
    with connection.cursor() as cursor:
        cursor.execute(DELIVERIES, [channel.pk])
        cursor.execute(WORKERS)
        cursor.execute("ANALYZE")
    make_batch(rows=ExceptionRecord.objects.all(), remark="r" * 2_000)
    soon = timezone.now() + timedelta(hours=1)
    ApprovalRequest.objects.bulk_create(
        ApprovalRequest(act="compensate", transaction=txn, remark="r" * 2_000, asked_by=HOSTILE, expires_at=soon)
        for txn in Transaction.objects.order_by("-pk")[:MANY]
    )
    return history


def registered() -> Iterator[str]:
    """The addresses of each list, and of the newest row of it; those that are refused are no pages."""
    reverse("admin:index")  # with the addresses, the pages are registered
    for model in site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_add")
        row = model._default_manager.order_by("-pk").first()
        for verb in ("change", "history", "delete"):
            yield reverse(f"{name}_{verb}", args=(row.pk,))


def others(flow: Flow) -> Iterator[str]:
    person = User.objects.latest("id")
    yield reverse("admin:auth_user_tokens", args=(person.pk,))
    yield reverse("admin:auth_user_password_change", args=(person.pk,))
    yield reverse("admin:password_change")
    yield reverse("admin:flow_difference", args=(flow.pk,))
    yield reverse("admin:app_list", args=("alerts",))


def too_heavy(name: str, *, ask: Callable[[], Any], most: int) -> str:
    """What is wrong with the page, "" for nothing."""
    ask()  # definitions are remembered by then
    began = time.monotonic()
    with CaptureQueriesContext(connection) as asked:
        answer = ask()
    seconds = time.monotonic() - began
    if answer.status_code == 403:
        return ""
    assert answer.status_code == 200, f"{name}: {answer.status_code}"
    if len(asked) <= most and len(answer.content) <= HEAVIEST and seconds < SLOWEST_SECONDS:
        return ""
    return f"{name}: {len(asked)} queries, {len(answer.content):,} bytes, {seconds:.1f} s"


def test_every_registered_page_is_light(full: Flow, root: Client) -> None:
    addresses = [*registered(), *others(full)]

    wrong = [too_heavy(address, ask=partial(root.get, address), most=MOST_QUERIES) for address in addresses]

    assert len(addresses) > 5 * len(site._registry)
    assert not any(wrong), "\n".join(filter(None, wrong))


def test_every_preview_of_a_batch_is_light(full: Flow, root: Client) -> None:
    for verb in VERBS:
        address = reverse("admin:batch_new", args=verb) + f"?status={'failed' if verb[0] == 'transactions' else 'open'}"

        page = too_heavy(address, ask=partial(root.get, address), most=MOST_QUERIES)
        values = {"try": "yes", "rate": "20", "resolution": "acknowledged"}
        trial = too_heavy(address, ask=partial(root.post, address, values), most=MOST_TRIED)

        assert page + trial == ""
        assert root.post(address, values).context["found"].is_tried


@pytest.mark.parametrize("model", [Transaction, ExceptionRecord])
def test_every_question_before_a_verb_is_light(model: Any, full: Flow, root: Client) -> None:
    """Of as many rows as are done on one page: failed transactions, open exceptions."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    failed = model.objects.filter(status__in=("failed", "open"))
    chosen = list(failed.order_by("-pk").values_list("pk", flat=True)[:SMALL])
    wrong = []
    for verb in site._registry[model].actions or ():
        ask = partial(root.post, address, {"action": verb, "_selected_action": chosen})
        wrong.append(too_heavy(verb, ask=ask, most=MOST_QUERIES))

    assert len(wrong) > 5
    assert not any(wrong), "\n".join(filter(None, wrong))
