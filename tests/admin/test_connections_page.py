"""Connections are registered by admins, checked by their executor, and hold no credentials."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from flows.models import Connection
from tests.admin.conftest import HOSTILE

LIST, ADD = "admin:flows_connection_changelist", "admin:flows_connection_add"


def entry(config: Any = None, **values: Any) -> dict[str, Any]:
    given = {"base_url": "https://pay.example"} if config is None else config
    text = given if isinstance(given, str) else json.dumps(given)
    return {"name": "payment", "kind": "http", "config": text, "description": "", "is_active": "on", **values}


def test_an_admin_registers_a_connection(sign_in: Callable[..., Client]) -> None:
    answer = sign_in("admin").post(reverse(ADD), entry())

    row = Connection.objects.get()
    assert answer.status_code == 302
    assert (row.name, row.kind, row.config, row.is_active) == (
        "payment",
        "http",
        {"base_url": "https://pay.example"},
        True,
    )
    assert row.updated_by == "admin"


@pytest.mark.parametrize("role", ["viewer", "submitter", "operator", "supervisor", "author"])
def test_other_roles_look_and_change_nothing(sign_in: Callable[..., Client], role: str) -> None:
    row = Connection.objects.create(name="payment", kind="http", config={"base_url": "https://pay.example"})
    client, change = sign_in(role), reverse("admin:flows_connection_change", args=(row.pk,))

    assert client.get(change).status_code == 200
    assert client.post(change, entry({"base_url": "https://evil.example"})).status_code == 403
    assert client.post(reverse(ADD), entry(name="other")).status_code == 403
    assert list(Connection.objects.values_list("config", flat=True)) == [{"base_url": "https://pay.example"}]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"config": "{"}, "Enter a valid JSON"),
        ({"config": "[1]"}, "must be an object"),
        ({"config": '{"cap": 5}'}, "base_url is required"),
        ({"config": '{"base_url": "https://a", "colour": 1}'}, "unknown key colour"),
        ({"config": '{"base_url": "https://a", "headers": {"Authorization": "Bearer x"}}'}, "looks like a credential"),
        ({"kind": "noop"}, "errorlist"),
        ({"name": "a.b"}, "Letters, digits, _ and - only."),
        ({"name": "a:1"}, "Letters, digits, _ and - only."),
    ],
)
def test_a_wrong_connection_is_refused_with_the_reason(root: Client, values: dict[str, Any], told: str) -> None:
    answer = root.post(reverse(ADD), entry(**values))

    text = answer.content.decode()
    assert "errorlist" in text
    assert told in text
    assert not Connection.objects.exists()


def test_a_connection_is_switched_off_and_keeps_its_name(root: Client) -> None:
    row = Connection.objects.create(name="payment", kind="http", config={"base_url": "https://pay.example"})
    before = row.updated_at

    root.post(reverse("admin:flows_connection_change", args=(row.pk,)), entry(name="other", is_active=""))

    row.refresh_from_db()
    assert (row.name, row.is_active, row.updated_by) == ("payment", False, "root")
    assert row.updated_at > before


def test_an_unknown_secret_is_warned_of_without_telling_what_was_typed(root: Client) -> None:
    config = {"base_url": "https://pay.example", "auth": {"type": "bearer", "secret": "sk_live_4711"}}

    answer = root.post(reverse(ADD), entry(config), follow=True)

    assert b"A secret that this connection names is not known here" in answer.content
    assert b"sk_live_4711" not in answer.content
    assert Connection.objects.exists()


def test_hostile_values_are_text(root: Client) -> None:
    row = Connection.objects.create(
        name="payment", kind="http", config={"base_url": HOSTILE}, description=HOSTILE, updated_by=HOSTILE
    )

    for address in (reverse(LIST), reverse("admin:flows_connection_change", args=(row.pk,))):
        text = root.get(address).content.decode()
        assert "&lt;script&gt;alert(1)" in text
        assert "<script>alert" not in text
