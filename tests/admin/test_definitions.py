"""Flows are registered, switched on and off, and never changed; task definitions are checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from flows.models import Flow, TaskDefinition

ADD_FLOW = "admin:flows_flow_add"
ADD_ENTRY = "admin:flows_taskdefinition_add"


def posted(**values: Any) -> dict[str, Any]:
    return {"name": "pay", "flow_type": "test", "description": "", "definition": '{"tasks": []}', **values}


def entry(**values: Any) -> dict[str, Any]:
    return {
        "name": "call",
        "type": "http",
        "description": "",
        "config": "{}",
        "inputs": "[]",
        "runbook_url": "",
        **values,
    }


def test_an_author_registers_a_flow(sign_in: Callable[..., Client]) -> None:
    answer = sign_in("author").post(reverse(ADD_FLOW), posted())

    flow = Flow.objects.get(name="pay")
    assert answer.status_code == 302
    assert (flow.version, flow.create_user, flow.is_active) == (1, "author", True)


def test_another_definition_is_the_next_version(root: Client) -> None:
    root.post(reverse(ADD_FLOW), posted())
    root.post(reverse(ADD_FLOW), posted(definition='{"tasks": [{"id": "a", "type": "noop"}]}'))

    assert list(Flow.objects.filter(name="pay").order_by("version").values_list("version", flat=True)) == [
        1,
        2,
    ]


def test_every_problem_is_shown_with_its_path(root: Client) -> None:
    tasks = [{"id": "a", "type": "nope"}, {"id": "b", "type": "noop", "depends_on": ["zz"], "bad": 1}]

    answer = root.post(reverse(ADD_FLOW), posted(definition=json.dumps({"tasks": tasks})))

    text = answer.content.decode()
    assert "tasks[0].type: " in text
    assert "tasks[1].depends_on[0]: " in text
    assert "tasks[1].bad: " in text
    assert not Flow.objects.filter(name="pay").exists()


@pytest.mark.parametrize("definition", ["", "{", "[]", "null"])
def test_what_is_no_definition_is_refused(definition: str, root: Client) -> None:
    answer = root.post(reverse(ADD_FLOW), posted(definition=definition))

    assert answer.status_code == 200
    assert not Flow.objects.filter(name="pay").exists()


def test_a_version_keeps_its_definition(root: Client, flow: Flow) -> None:
    address = reverse("admin:flows_flow_change", args=(flow.pk,))

    root.post(address, posted(name="other", definition='{"tasks": []}', description="new words"))

    before, after = flow.definition, Flow.objects.get(pk=flow.pk)
    assert (after.definition, after.name, after.version) == (before, flow.name, 1)
    assert (after.description, after.is_active) == ("new words", False)
    assert after.updated_at > flow.updated_at


def test_a_flow_is_not_deleted(root: Client, flow: Flow) -> None:
    assert root.post(reverse("admin:flows_flow_delete", args=(flow.pk,)), {"post": "yes"}).status_code == 403


def test_flows_are_switched_off_and_on(root: Client, flow: Flow) -> None:
    for action, active in (("deactivate", False), ("activate", True)):
        root.post(
            reverse("admin:flows_flow_changelist"),
            {"action": action, "_selected_action": flow.pk, "index": 0},
        )
        assert Flow.objects.get(pk=flow.pk).is_active is active


def test_a_viewer_switches_nothing(sign_in: Callable[..., Client], flow: Flow) -> None:
    viewer = sign_in("viewer")

    viewer.post(
        reverse("admin:flows_flow_changelist"),
        {"action": "deactivate", "_selected_action": flow.pk, "index": 0},
    )

    assert viewer.get(reverse(ADD_FLOW)).status_code == 403
    assert Flow.objects.get(pk=flow.pk).is_active


def test_a_partial_default_is_fine(root: Client) -> None:
    root.post(reverse(ADD_ENTRY), entry(config='{"method": "PUT"}'))

    assert TaskDefinition.objects.get(name="call").config == {"method": "PUT"}


@pytest.mark.parametrize(
    "values",
    [
        {"type": "nope"},
        {"config": "[]"},
        {"config": "{"},
        {"config": '{"method": "FETCH"}'},
        {"config": '{"colour": "red"}'},
        {"inputs": "{}"},
        {"inputs": '[{"name": "a", "type": "colour"}]'},
        {"inputs": '[{"name": "a"}, {"name": "a"}]'},
        {"runbook_url": "javascript:alert(1)"},
    ],
)
def test_a_wrong_entry_is_refused(values: dict[str, Any], root: Client) -> None:
    answer = root.post(reverse(ADD_ENTRY), entry(**values))

    assert b"errorlist" in answer.content
    assert not TaskDefinition.objects.filter(name="call").exists()
