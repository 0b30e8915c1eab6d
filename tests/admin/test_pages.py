"""Every page answers those who may see it, and refuses the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from dist_task.console import site
from exceptions_app.models import ExceptionRecord
from flows.register import register
from tests.commands import rows

LISTS = {
    "exceptions_app_exceptionrecord": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "transactions_transaction": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "dist_task_executionlog": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "dist_task_worker": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "flows_flow": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "flows_taskdefinition": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "flows_connection": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "flows_secret": {"author", "admin"},
    "alerts_alertrule": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "alerts_channel": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "alerts_subscription": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "alerts_delivery": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "batches_batch": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "four_eyes_approvalrequest": {"viewer", "submitter", "operator", "supervisor", "author", "admin"},
    "auth_user": {"admin"},
    "auth_group": {"admin"},
}
ENGINE_ROWS = (
    "exceptions_app_exceptionrecord",
    "transactions_transaction",
    "dist_task_executionlog",
    "dist_task_worker",
    "alerts_delivery",
    "batches_batch",
    "four_eyes_approvalrequest",
)
ROLES = ("viewer", "submitter", "operator", "supervisor", "author", "admin")


def test_only_our_pages_are_registered() -> None:
    pages = {f"{model._meta.app_label}_{model._meta.model_name}" for model in site._registry}

    assert pages == set(LISTS)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_its_lists_and_no_others(role: str, sign_in: Callable[..., Client]) -> None:
    client = sign_in(role)

    answers = {page: client.get(reverse(f"admin:{page}_changelist")).status_code for page in LISTS}

    assert answers == {page: 200 if role in roles else 403 for page, roles in LISTS.items()}


@pytest.mark.parametrize("page", LISTS)
def test_a_visitor_is_sent_to_the_login(page: str, db: None) -> None:
    answer = Client().get(reverse(f"admin:{page}_changelist"))

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


def test_somebody_without_a_role_sees_an_empty_overview(sign_in: Callable[..., Client]) -> None:
    answer = sign_in().get(reverse("admin:index"))

    assert answer.status_code == 200
    assert b"Your roles open no numbers here" in answer.content


@pytest.mark.parametrize("page", ENGINE_ROWS)
def test_a_superuser_cannot_add_an_engine_row(page: str, root: Client) -> None:
    answer = root.post(reverse(f"admin:{page}_add"), {})

    assert answer.status_code == 403
    assert b"<html" in answer.content


@pytest.mark.parametrize("verb", ["change", "delete"])
def test_a_superuser_cannot_change_or_delete_an_engine_row(verb: str, root: Client, record: ExceptionRecord) -> None:
    for page, pk in (
        ("exceptions_app_exceptionrecord", record.pk),
        ("transactions_transaction", record.transaction_id),
        ("dist_task_executionlog", record.transaction.log.last().pk),
    ):
        answer = root.post(reverse(f"admin:{page}_{verb}", args=(pk,)), {"post": "yes", "status": "handled"})
        assert answer.status_code == 403, page
    record.refresh_from_db()
    assert record.status == "open"


def test_every_detail_page_answers(root: Client, record: ExceptionRecord) -> None:
    entry = record.transaction.log.last()
    for page, pk in (
        ("exceptions_app_exceptionrecord", record.pk),
        ("transactions_transaction", record.transaction_id),
        ("dist_task_executionlog", entry.pk),
        ("flows_flow", record.flow_id),
    ):
        answer = root.get(reverse(f"admin:{page}_change", args=(pk,)))
        assert answer.status_code == 200, page


def test_an_unknown_address_is_a_page(root: Client) -> None:
    answer = root.get("/admin/nothing/here/")

    assert answer.status_code == 404
    assert b"There is nothing at this address." in answer.content


def test_the_policy_allows_no_inline_code(root: Client, record: ExceptionRecord) -> None:
    for address in (
        reverse("admin:index"),
        reverse("admin:login"),
        reverse("admin:transactions_transaction_changelist"),
    ):
        policy = root.get(address)["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize("page", LISTS)
def test_a_page_has_no_inline_script_style_or_handler(page: str, root: Client, record: ExceptionRecord) -> None:
    text = root.get(reverse(f"admin:{page}_changelist") + "?status=all&live=all").content.decode()

    assert "<style" not in text
    assert " style=" not in text
    assert " onclick=" not in text
    assert "<script>" not in text


def test_the_language_switch_speaks_chinese(root: Client) -> None:
    root.post(reverse("set_language"), {"language": "zh-hans", "next": "/admin/"})

    text = root.get(reverse("admin:index")).content.decode()

    assert "事务" in text
    assert 'lang="zh-hans"' in text


def test_a_failed_compensation_is_told_from_a_failed_task(root: Client) -> None:
    task = {"id": "pay", "name": "Pay", "type": "noop", "compensate": {}}
    flow = register(name="undoable", flow_type="t", definition={"tasks": [task]}, create_user="admin")
    record = rows.fail_undoing("h", flow=flow)

    pages = [
        reverse("admin:index"),
        reverse("admin:exceptions_app_exceptionrecord_changelist"),
        reverse("admin:exceptions_app_exceptionrecord_change", args=[record.pk]),
        reverse("admin:transactions_transaction_change", args=[record.transaction_id]),
        reverse("admin:dist_task_executionlog_changelist"),
    ]

    for page in pages:
        assert b"undo: " in root.get(page).content, page
