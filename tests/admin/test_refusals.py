"""What is refused before a view runs is a page in the console, and the envelope elsewhere."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
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
