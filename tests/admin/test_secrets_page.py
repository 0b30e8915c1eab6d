"""The names of secrets, and where each comes from; a value goes in and is shown nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from dist_task.sealing import unseal
from flows.models import Secret
from flows.secret_rows import store
from tests.admin.conftest import HOSTILE

LIST, ADD = "admin:flows_secret_changelist", "admin:flows_secret_add"
VALUE = "the-canary-in-the-form-4711"


def change_of(secret: Secret) -> str:
    return reverse("admin:flows_secret_change", args=(secret.pk,))


def opened(name: str) -> str:
    return unseal(Secret.objects.get(name=name).sealed, name=name)


def test_an_author_sets_a_secret_and_nobody_sees_it_again(sign_in: Callable[..., Client]) -> None:
    author = sign_in("author")

    answer = author.post(reverse(ADD), {"name": "PAYMENT", "value": f"{VALUE}\r\n"}, follow=True)

    secret = Secret.objects.get(name="PAYMENT")
    assert (opened("PAYMENT"), secret.updated_by) == (VALUE, "author")
    history = reverse("admin:flows_secret_history", args=(secret.pk,))
    pages = [answer, *(author.get(address) for address in (reverse(LIST), change_of(secret), history))]
    assert all(page.status_code == 200 and VALUE.encode() not in page.content for page in pages)
    assert all(secret.sealed.encode() not in page.content for page in pages)
    assert VALUE not in str(list(LogEntry.objects.values_list("object_repr", "change_message")))


def test_a_value_is_replaced_and_its_name_is_not(root: Client) -> None:
    secret = store("PAYMENT", value="the-old-value", actor="somebody")

    root.post(change_of(secret), {"name": "OTHER", "value": VALUE})

    assert list(Secret.objects.values_list("name", "updated_by")) == [("PAYMENT", "root")]
    assert opened("PAYMENT") == VALUE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("1BAD", VALUE),
        ("a-b", VALUE),
        ("", VALUE),
        ("a" * 65, VALUE),
        (HOSTILE, VALUE),
        ("SHORT", "abc"),
        ("EMPTY", ""),
    ],
)
def test_a_mistake_shows_neither_value_nor_stores_it(root: Client, name: str, value: str) -> None:
    answer = root.post(reverse(ADD), {"name": name, "value": value})

    text = answer.content.decode()
    assert answer.status_code == 200
    assert "errorlist" in text
    assert VALUE not in text
    assert "<script>alert" not in text
    assert not Secret.objects.exists()


def test_a_name_that_is_taken_is_not_overwritten(root: Client) -> None:
    store("PAYMENT", value="the-old-value", actor="somebody")

    answer = root.post(reverse(ADD), {"name": "PAYMENT", "value": VALUE})

    assert VALUE.encode() not in answer.content
    assert opened("PAYMENT") == "the-old-value"


def test_a_secret_of_several_lines_keeps_them(root: Client) -> None:
    root.post(reverse(ADD), {"name": "KEY", "value": "-----BEGIN KEY-----\r\nabcd\r\n-----END KEY-----\r\n"})

    assert opened("KEY") == "-----BEGIN KEY-----\nabcd\n-----END KEY-----"


def test_a_secret_is_deleted(sign_in: Callable[..., Client]) -> None:
    secret = store("PAYMENT", value=VALUE, actor="somebody")

    answer = sign_in("author").post(
        reverse("admin:flows_secret_delete", args=(secret.pk,)), {"post": "yes"}, follow=True
    )

    assert not Secret.objects.exists()
    assert VALUE.encode() not in answer.content


@pytest.mark.parametrize("role", ["viewer", "submitter", "operator", "supervisor"])
def test_other_roles_see_and_do_nothing(sign_in: Callable[..., Client], role: str) -> None:
    secret, client = store("PAYMENT", value="the-old-value", actor="somebody"), sign_in(role)

    answers = [
        client.get(reverse(LIST)),
        client.get(change_of(secret)),
        client.post(reverse(ADD), {"name": "OTHER", "value": VALUE}),
        client.post(change_of(secret), {"value": VALUE}),
        client.post(reverse("admin:flows_secret_delete", args=(secret.pk,)), {"post": "yes"}),
    ]

    assert [answer.status_code for answer in answers] == [403] * 5
    assert opened("PAYMENT") == "the-old-value"


def test_the_list_says_where_each_comes_from(
    root: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIST_TASK_SECRET_FROM_ENV", VALUE)
    (tmp_path / "FROM_FILE").write_text(VALUE)
    (tmp_path / "..data").mkdir()
    (tmp_path / "no-name").write_text(VALUE)
    settings.DIST_TASK = {**settings.DIST_TASK, "SECRETS_DIR": str(tmp_path)}
    store("FROM_ROW", value=VALUE, actor="somebody")
    store("FROM_FILE", value=VALUE, actor="somebody")

    text = root.get(reverse(LIST)).content.decode()

    assert "<code>FROM_ENV</code></td><td>the environment</td>" in text
    assert "<code>FROM_FILE</code></td><td>a file</td>" in text
    assert "stored here, but the deployment gives another one" in text
    assert "no-name" not in text
    assert VALUE not in text


def test_without_keys_nothing_is_stored_and_the_page_says_so(root: Client, settings: Any) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "SECRETS_KEYS": ()}

    answer = root.post(reverse(ADD), {"name": "PAYMENT", "value": VALUE})

    assert b"There are no keys to seal it with" in answer.content
    assert b"no keys for stored secrets" in root.get(reverse(LIST)).content
    assert VALUE.encode() not in answer.content
    assert not Secret.objects.exists()
