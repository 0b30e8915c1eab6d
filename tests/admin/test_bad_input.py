"""What no page sends: answered with a page, never with a failure of ours."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from flows.models import Flow, TaskDefinition

TRANSACTIONS = "/admin/transactions/transaction/"
HUGE = "9" * 23


@pytest.mark.parametrize(
    "address",
    [
        f"{TRANSACTIONS}?flow_name=%00",
        f"{TRANSACTIONS}?status__exact=%00",
        f"{TRANSACTIONS}?q=%00",
        f"{TRANSACTIONS}%00/change/",
        f"{TRANSACTIONS}{HUGE}/change/",
        f"{TRANSACTIONS}abc/change/",
        f"{TRANSACTIONS}?p={HUGE}",
        f"{TRANSACTIONS}?p=-1",
        f"{TRANSACTIONS}?nope=1",
        f"{TRANSACTIONS}?created_at__gte=x",
        f"{TRANSACTIONS}?q=%ed%a0%80",
        f"/admin/dist_task/executionlog/?transaction__id__exact={HUGE}",
        "/admin/exceptions_app/exceptionrecord/?status=zz",
        "/admin/flows/flow/%00/change/",
        f"/admin/auth/user/{HUGE}/tokens/",
    ],
)
def test_a_wrong_address_is_a_page(address: str, root: Client) -> None:
    answer = root.get(address)

    assert answer.status_code < 500
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("pk", ["abc", "\0", HUGE, "", "1.5"])
@pytest.mark.parametrize("page", ["transactions_transaction", "flows_flow"])
def test_a_wrong_selection_changes_nothing(page: str, pk: str, root: Client, flow: Flow) -> None:
    action = "deactivate" if page == "flows_flow" else "cancel"

    answer = root.post(reverse(f"admin:{page}_changelist"), {"action": action, "_selected_action": pk, "index": "0"})

    assert answer.status_code < 500
    assert Flow.objects.get(pk=flow.pk).is_active


@pytest.mark.parametrize(
    "config",
    ['{"url": "\\ud800"}', '{"url": "\\u0000"}', '{"a": 1e999}', '{"a": NaN}', "[" * 50_000, f'{{"a": {"9" * 5_000}}}'],
)
def test_json_that_cannot_be_stored_is_refused(config: str, root: Client) -> None:
    data = {"name": "call", "type": "http", "config": config, "inputs": "[]"}

    answer = root.post(reverse("admin:flows_taskdefinition_add"), data)

    assert b"errorlist" in answer.content
    assert not TaskDefinition.objects.filter(name="call").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a\r\nb"},
        {"name": "a\0b"},
        {"flow_type": "a\tb"},
        {"definition": '{"tasks": ' + "[" * 50_000 + "]" * 50_000 + "}"},
        {"definition": '{"tasks": [{"id": "a", "type": "noop", "name": "\\ud800"}]}'},
    ],
)
def test_a_flow_that_cannot_be_stored_is_refused(values: dict[str, str], root: Client) -> None:
    data = {"name": "pay", "flow_type": "test", "description": "", "definition": '{"tasks": []}', **values}

    answer = root.post(reverse("admin:flows_flow_add"), data)

    assert b"errorlist" in answer.content
    assert not Flow.objects.exists()
