"""Flows that notify, as they are posted: the registry's `notify` and the connection that it needs."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pytest
from django.apps import apps

from flows import migrations
from flows.models import Flow, TaskDefinition
from tests.api.conftest import Api

FLOW: dict[str, Any] = {
    "name": "payment_flow",
    "flow_type": "payment",
    "definition": {"tasks": [{"id": "tell", "task_name": "notify"}]},
    "create_user": "admin",
}


@pytest.fixture(autouse=True)
def registry(db: None) -> None:
    """The entries that the migrations ship, also after a test that emptied the tables."""
    for module in pkgutil.iter_modules(migrations.__path__, f"{migrations.__name__}."):
        if ship := getattr(importlib.import_module(module.name), "ship", None):
            ship(apps, None)


def test_without_a_connection_the_flow_is_refused_and_told_how_to_register_one(api: Api) -> None:
    answer = api.post("/api/v1/flows", FLOW)

    [error] = answer.data["errors"]
    assert answer.status == 400
    assert error == {
        "field": "tasks[0].config.connection",
        "message": "no mq connection named mq is registered; register it in the environment variable"
        ' DIST_TASK_CONNECTIONS, for example {"mq": {"kind": "mq", "url": "amqp://user:password@broker:5672/vhost"}}',
        "hint": 'for example "connection": "mq"',
    }
    assert not Flow.objects.exists()


def test_with_one_it_is_taken(api: Api, settings: Any) -> None:
    broker = {"kind": "mq", "url": "amqp://broker"}
    settings.DIST_TASK = {**settings.DIST_TASK, "CONNECTIONS": {"mq": broker}}

    answer = api.post("/api/v1/flows", FLOW)

    assert answer.status == 200
    assert Flow.objects.get().task_definitions["notify"]["config"] == {"topic": "payment.completed"}


def test_the_registry_ships_what_the_document_names() -> None:
    notify = TaskDefinition.objects.get(name="notify")

    assert (notify.type, notify.config) == ("mq", {"topic": "payment.completed"})
    assert [(each["name"], each["required"]) for each in notify.inputs] == [
        ("user_id", True),
        ("order_id", True),
        ("status", True),
    ]
    assert TaskDefinition.objects.get(name="mq").type == "mq"
