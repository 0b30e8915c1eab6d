"""The API as a client sees it; every answer is checked to be an envelope."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client
from knox.models import AuthToken

from flows.models import Flow
from flows.register import register


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]
    response: HttpResponse

    @property
    def data(self) -> Any:
        return self.body["data"]

    @property
    def message(self) -> str:
        return self.body["message"]

    @property
    def fields(self) -> set[str]:
        return {each["field"] for each in (self.data or {}).get("errors", [])}


class Api:
    def __init__(self, *, token: str = "") -> None:
        self.client = Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """`body`: what is not a string or bytes is sent as JSON."""
        headers = {**self.headers, **options.pop("headers", {})}
        if body is not None:
            options["data"] = body if isinstance(body, str | bytes) else json.dumps(body)
            options.setdefault("content_type", "application/json")
        response = self.client.generic(method, path, headers=headers, **options)
        return checked(response)

    def get(self, path: str, **options: Any) -> Answer:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("POST", path, body, **options)

    def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return self.ask("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.ask("DELETE", path, **options)


def checked(response: HttpResponse) -> Answer:
    assert response["Content-Type"] == "application/json", response.content[:200]
    body = json.loads(response.content)
    assert list(body) == ["code", "message", "data"]
    assert body["code"] == (0 if response.status_code == 200 else response.status_code)
    assert (body["message"] == "success") is (body["code"] == 0)
    return Answer(response.status_code, body, response)


@pytest.fixture
def api(db: None) -> Api:
    """Nobody in particular, as in the document's examples."""
    return Api()


@pytest.fixture
def flow(db: None) -> Flow:
    task = {"id": "deduct", "name": "扣款", "type": "noop"}
    return register(name="payment_flow", flow_type="payment", definition={"tasks": [task]}, create_user="admin")


@pytest.fixture
def closed(settings: Any) -> None:
    """As in production: who sends no token gets nothing."""
    settings.DIST_TASK = {**settings.DIST_TASK, "ANONYMOUS_API": False}


def token_of(role: str) -> str:
    user = User.objects.create_user(f"{role}-user")
    user.groups.add(Group.objects.get(name=role))
    return AuthToken.objects.create(user)[1]


def as_role(role: str) -> Api:
    return Api(token=token_of(role))
