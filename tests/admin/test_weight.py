"""Every page stays light with a history: at most 12 queries and 100 KB, and no plan that reads a big table whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dist_task.alerts.models import AlertRule
from dist_task.engine.operate import cancel_transaction, handle_exception
from dist_task.saved_views.models import SavedView
from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from flows.register import register
from tests.admin.conftest import HOSTILE
from tests.batches.conftest import make as make_batch
from tests.commands import rows
from transactions.models import Transaction

MOST_QUERIES, HEAVIEST = 12, 100_000
SLOWEST_SECONDS = 5.0  # wide: for what reads a history whole, not for a busy machine
TASKS = 60
TRANSACTIONS = """
    INSERT INTO transactions_transaction (instance_id, flow_id, status, params, wake_at, created_at, started_at, completed_at)
    SELECT 'order-' || n, %(flow)s, CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'success' END,
           jsonb_build_object('user_id', 'u' || n %% 1000), NULL, at, at, at + interval '1 second' * (n %% 30)
    FROM generate_series(1, %(count)s) n, LATERAL (SELECT now() - interval '1 second' * (%(count)s - n) AS at) t
"""  # noqa: E501  # one statement
RUNS = """
    INSERT INTO dist_task_taskrun (transaction_id, task_id, op, item, status, attempt, error_message, started_at, finished_at)
    SELECT id, 't00', 'action', -1, status, 1, '', created_at, completed_at FROM transactions_transaction
"""  # noqa: E501
LOG = """
    INSERT INTO dist_task_executionlog (transaction_id, task_id, op, attempt, event, actor, started_at, at)
    SELECT id, 't00', 'action', 1, 'succeeded',
           CASE WHEN row_number() OVER (ORDER BY id) %% 50 = 0 THEN 'ana' ELSE '' END, created_at, completed_at
    FROM transactions_transaction
"""
EXCEPTIONS = """
    INSERT INTO exceptions_app_exceptionrecord (transaction_id, run_id, flow_id, task_id, op, item, task_name, status,
        error_code, error_message, outcome, fingerprint, handled_at)
    SELECT id, run_id, flow_id, 't00', 'action', -1, 'Pay', CASE WHEN n %% 2 = 0 THEN 'open' ELSE 'handled' END,
           'CODE_' || n %% 40, repeat('x', 2000), 'terminal', 'f' || n %% 40, CASE WHEN n %% 2 = 0 THEN NULL ELSE now() END
    FROM (
        SELECT t.id, t.flow_id, r.id AS run_id, row_number() OVER (ORDER BY t.id) AS n
        FROM transactions_transaction t JOIN dist_task_taskrun r ON r.transaction_id = t.id WHERE t.status = 'failed'
    ) failed
"""  # noqa: E501
"""Numbered by themselves: an id's parity is what the tests before have left of the sequence."""
ROLLUP = """
    INSERT INTO dist_task_statrollup (flow_id, bucket, created, succeeded, failed, cancelled, duration_ms)
    SELECT flow_id, date_bin('15 minutes', created_at, 'epoch'), count(*), count(*), 0, 0, 0
    FROM transactions_transaction GROUP BY 1, 2
"""


def fill(flow: Flow, *, count: int) -> None:
    """A history as the service would have left it."""
    with connection.cursor() as cursor:
        cursor.execute(TRANSACTIONS, {"flow": flow.pk, "count": count})
        for sql in (RUNS, LOG, EXCEPTIONS, ROLLUP):
            cursor.execute(sql.replace("%%", "%"))
        cursor.execute("ANALYZE")


@pytest.fixture
def large(db: None) -> Flow:
    tasks = [
        {"id": f"t{n:02}", "name": f"Step {n}", "type": "noop", "depends_on": [f"t{n - 6:02}"] if n >= 6 else []}
        for n in range(TASKS)
    ]
    return register(name="large", flow_type="t", definition={"tasks": tasks}, create_user="ana")


@pytest.fixture(params=[3_000, pytest.param(100_000, marks=pytest.mark.large)])
def history(request: pytest.FixtureRequest, large: Flow) -> Flow:
    fill(large, count=request.param)
    return large


def newest(**about: Any) -> Transaction:
    return Transaction.objects.filter(**about).latest("id")


def save_views(*, many: int = 60) -> None:
    """As many as anybody sees, of a person and of others, with names that take the most room."""
    people = [*User.objects.all(), *User.objects.bulk_create([User(username=f"{HOSTILE}{n}") for n in range(3)])]
    SavedView.objects.bulk_create(
        SavedView(owner=owner, page=page, name=HOSTILE[:50] + str(n), query="status=all&" + "x" * 1_500, is_shared=True)
        for owner in people
        for page in ("transactions", "exceptions")
        for n in range(many)
    )


def addresses(flow: Flow) -> Iterator[tuple[str, str]]:
    """Each page by a name, and the filters that look at most."""
    lists = {
        "transactions": "transactions_transaction",
        "exceptions": "exceptions_app_exceptionrecord",
        "log": "dist_task_executionlog",
        "workers": "dist_task_worker",
        "flows": "flows_flow",
    }
    yield "overview", reverse("admin:index")
    yield "live", "/admin/live/?of=overview"
    yield "audit", reverse("admin:audit")
    yield "audit of one", reverse("admin:audit") + "?actor=nobody"
    yield "groups", reverse("admin:exception_groups")
    for name, page in lists.items():
        yield name, reverse(f"admin:{page}_changelist")
    for query in (
        "status=failed",
        "status=success",
        "flow_name=large",
        "instance_id_prefix=order-1",
        "payload_key=user_id&payload_value=u7",
        "payload_key=user_id&payload_value=nobody",
        "created_before=2020-01-01T00:00",
        "compensation=done",
        f"after={newest().pk - 1000}",
        f"before={newest().pk - 1000}",
    ):
        yield query, reverse("admin:transactions_transaction_changelist") + f"?{query}"
    for query in ("status=handled", "fingerprint=f2", "task=none", "flow_name=large&status=all"):
        yield query, reverse("admin:exceptions_app_exceptionrecord_changelist") + f"?{query}"
    for query in ("event=cancelled", "actor=nobody", f"transaction={newest().pk}"):
        yield query, reverse("admin:dist_task_executionlog_changelist") + f"?{query}"
    failed = newest(status="failed")
    yield "transaction", reverse("admin:transactions_transaction_change", args=(failed.pk,))
    for name, txn in zip(("parent", "child"), _family(), strict=True):
        yield name, reverse("admin:transactions_transaction_change", args=(txn.pk,))
    record = failed.exceptions.latest("id")
    yield "exception", reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,))
    yield "retry", reverse("admin:exception_retry", args=(record.pk,))
    yield "flow", reverse("admin:flows_flow_change", args=(flow.pk,))
    yield "batches", reverse("admin:batches_batch_changelist")
    batch = make_batch(rows=ExceptionRecord.objects.all(), remark="r" * 2_000)
    yield "batch", reverse("admin:batches_batch_change", args=(batch.pk,))
    yield "batch, refused ones", reverse("admin:batches_batch_change", args=(batch.pk,)) + "?result=refused"


def _family() -> tuple[Transaction, Transaction]:
    """A transaction that has started others, and has failed; and one of those that may start some as well."""
    order = {"id": "pay", "type": "subflow", "config": {"flow": "large"}}
    flow = register(name="nested", flow_type="t", definition={"tasks": [order]}, create_user="ana")
    parent = rows.fail_one("contract-1", flow=flow).transaction
    children = [rows.fail_one(f"contract-1.pay.{number}", flow=flow).transaction for number in range(3)]
    below = Transaction.objects.filter(pk__in=[child.pk for child in children])
    below.update(parent=parent, parent_task_id="pay")
    return parent, children[0]


def _staff(role: str, *, sign_in: Callable[..., Client]) -> Client:
    """Signed in; "all": who has each permission by name and none by being a superuser."""
    if role != "all":
        return sign_in(superuser=True) if role == "superuser" else sign_in(role)
    client = sign_in("operator")
    User.objects.get(username="operator").user_permissions.set(Permission.objects.all())
    return client


@pytest.mark.parametrize("role", ["superuser", "operator", "all"])
def test_pages_are_light_whatever_the_history(role: str, history: Flow, sign_in: Callable[..., Client]) -> None:
    client = _staff(role, sign_in=sign_in)
    save_views()
    rules = [AlertRule(name=HOSTILE + str(n), kind="exceptions", state="firing", value=n) for n in range(30)]
    AlertRule.objects.bulk_create(rules)
    for name, address in addresses(history):
        client.get(address)  # definitions are remembered by then

        began = time.monotonic()
        with CaptureQueriesContext(connection) as asked:
            answer = client.get(address)

        assert answer.status_code == 200, name
        assert len(asked) <= MOST_QUERIES, f"{name}: " + "\n".join(query["sql"][:150] for query in asked)
        assert len(answer.content) <= HEAVIEST, f"{name}: {len(answer.content)} bytes"
        assert time.monotonic() - began < SLOWEST_SECONDS, name


def test_a_transaction_with_everything_in_it_is_light(root: Client, large: Flow) -> None:
    """Sixty tasks, many attempts, and values that are long and hostile."""
    fill(large, count=20)
    txn = newest(status="failed")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO dist_task_taskrun (transaction_id, task_id, op, item, status, attempt, error_code,"
            " error_message, started_at, finished_at, input, output)"
            " SELECT %s, 't' || lpad(n::text, 2, '0'), 'action', -1, 'failed', 9, 'CODE', %s, now(), now(), %s, %s"
            " FROM generate_series(1, 59) n",
            [txn.pk, HOSTILE * 9_000, f'"{"<" * 500_000}"', f'"{"&" * 500_000}"'],
        )
        cursor.execute(
            "INSERT INTO dist_task_executionlog"
            " (transaction_id, task_id, op, attempt, event, message, started_at, at, request)"
            " SELECT %s, 't' || lpad((n %% 60)::text, 2, '0'), 'action', n / 60, 'failed', %s, now(), now(), %s"
            " FROM generate_series(1, 600) n",
            [txn.pk, HOSTILE * 100, f'"{"<" * 8_000}"'],
        )

    answer = root.get(reverse("admin:transactions_transaction_change", args=(txn.pk,)))

    assert answer.status_code == 200
    assert answer.context["graph"] is not None
    assert len(answer.content) <= HEAVIEST
    assert b"<script>alert" not in answer.content


def test_a_long_list_of_long_texts_is_light(root: Client, flow: Flow) -> None:
    for number in range(55):
        rows.fail_one(f"{'x' * 50}{number}", flow=flow, message=HOSTILE * 500, code="C" * 90)
    save_views()
    handle_exception(newest().exceptions.get().pk, actor="a" * 100, remark="r" * 2_000)
    cancel_transaction(newest().instance_id, actor="a" * 100, remark="r" * 2_000)

    for page in ("exceptions_app_exceptionrecord", "transactions_transaction", "dist_task_executionlog"):
        answer = root.get(reverse(f"admin:{page}_changelist"))
        assert len(answer.content) <= HEAVIEST, f"{page}: {len(answer.content)} bytes"
