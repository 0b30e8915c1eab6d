"""What is refused before a view runs, and what crashes, is a page in the console, and the envelope elsewhere."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

LOGIN = {"username": "boss", "password": "wrong"}


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss", password="right")


def test_a_login_form_that_is_too_old_says_so(boss: User) -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("admin:login"), LOGIN)

    assert answer.status_code == 403
    assert b"Load the page again" in answer.content


def test_a_csrf_failure_elsewhere_is_the_envelope(boss: User) -> None:
    answer = Client(enforce_csrf_checks=True).post(reverse("set_language"), {"language": "en"})

    assert answer.status_code == 403
    assert json.loads(answer.content)["code"] == 403


def test_guessing_a_password_is_locked_out_even_when_the_guess_is_right(boss: User) -> None:
    client = Client()
    for _attempt in range(5):
        client.post(reverse("admin:login"), LOGIN)

    answer = client.post(reverse("admin:login"), {**LOGIN, "password": "right"})

    assert answer.status_code == 429
    assert b"Too many failed logins. Try again in 15 minutes." in answer.content
    assert client.get(reverse("admin:index")).status_code == 302


def test_the_right_password_opens_the_console(boss: User) -> None:
    client = Client()

    answer = client.post(reverse("admin:login"), {**LOGIN, "password": "right", "next": "/admin/"})

    assert answer["Location"] == "/admin/"
    assert client.get(reverse("admin:index")).status_code == 200


def test_a_crash_in_the_console_is_a_page_with_an_id_that_the_log_has(
    root: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("a secret")

    root.raise_request_exception = False
    monkeypatch.setattr("dist_task.console.dashboard.dashboard", crash)
    with caplog.at_level(logging.ERROR):
        answer = root.get(reverse("admin:index"))

    assert (answer.status_code, answer["Content-Type"]) == (500, "text/html; charset=utf-8")
    (error_id,) = re.findall("Error id: ([0-9a-f]{16})", answer.content.decode())
    assert [error_id in record.getMessage() for record in caplog.records] == [True]
    assert b"secret" not in answer.content


def test_a_database_that_is_away_is_a_page_too(root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused at 10.0.0.7")

    root.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr("django.db.backends.utils.CursorWrapper.execute", refuse)
        answer = root.get(reverse("admin:index"), headers={"Accept-Language": "zh-CN"})

    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert "<title>出错了" in answer.content.decode()
    assert b"10.0.0.7" not in answer.content
