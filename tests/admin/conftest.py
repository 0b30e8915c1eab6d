"""People of every role, and rows made by the engine with values that try to break out of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import translation

from exceptions_app.models import ExceptionRecord
from flows.models import Flow
from tests.commands import rows

HOSTILE = "<script>alert(1)</script>\"'><img src=x>"


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = False
    translation.activate("en")  # a test before may have spoken another language in this thread


@pytest.fixture
def sign_in(db: None) -> Callable[..., Client]:
    def client_of(role: str = "", *, superuser: bool = False) -> Client:
        name = role or ("root" if superuser else "nobody")
        user = User.objects.create_user(name, password=None, is_staff=True, is_superuser=superuser)
        if role:
            user.groups.add(Group.objects.get(name=role))
        client = Client()
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return client_of


@pytest.fixture
def root(sign_in: Callable[..., Client]) -> Client:
    return sign_in(superuser=True)


@pytest.fixture
def flow(db: None) -> Flow:
    return rows.make_flow(name="orders")


@pytest.fixture
def record(flow: Flow) -> ExceptionRecord:
    """A failed transaction's open exception, hostile wherever other people's services can be."""
    return rows.fail_one("order_1", flow=flow, message=HOSTILE, code="BAD<b>")
