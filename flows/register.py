"""A posted definition becomes the next version of its flow, or the latest one again when nothing changed."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from .definition import to_text
from .models import Flow, TaskDefinition
from .registry_rows import Snapshot, parse, snapshot


def register(
    *, name: str, flow_type: str, definition: str | dict[str, Any], create_user: str, description: str = ""
) -> Flow:
    """Raises InvalidDefinition. The latest version posted again is answered: deploy scripts can repeat."""
    pinned = check(definition)
    text = definition if isinstance(definition, str) else to_text(definition)
    with transaction.atomic():
        lock_name(name)
        latest = Flow.objects.latest_of(name)
        if latest and is_same(latest, text=text, pinned=pinned, flow_type=flow_type):
            return redescribe(latest, description=description)
        return Flow.objects.create(
            name=name,
            version=latest.version + 1 if latest else 1,
            flow_type=flow_type,
            description=description,
            definition=text,
            task_definitions=pinned,
            create_user=create_user,
        )


def check(definition: str | dict[str, Any]) -> Snapshot:
    """Raises InvalidDefinition with every problem; answers the registry entries that the definition names."""
    known = snapshot(TaskDefinition.objects.values_list("name", flat=True))
    parsed = parse(definition, pinned=known)
    return {name: known[name] for name in sorted(parsed.task_names) if name in known}


def lock_name(name: str) -> None:
    """Two that post one name at once come one after the other. Held until the database transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('flow:' || %s, 0))", [name])


def is_same(flow: Flow, *, text: str, pinned: Snapshot, flow_type: str) -> bool:
    if flow.deleted_at is not None or flow.flow_type != flow_type or flow.task_definitions != pinned:
        return False
    return flow.definition == text or same_json(flow.definition, text)


def same_json(one: str, other: str) -> bool:
    """Whether two JSON texts mean the same; the order of keys and the white space do not count."""
    return canonical(one) == canonical(other)


def canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def redescribe(flow: Flow, *, description: str) -> Flow:
    """The description is no part of a version: a new one that is not empty replaces the old one."""
    if description and description != flow.description:
        change(flow, description=description)
    return flow


def change(flow: Flow, **values: Any) -> Flow:
    """Set columns that are no part of a version."""
    Flow.objects.filter(pk=flow.pk).update(**values, updated_at=Now())
    flow.refresh_from_db()
    return flow


def delete(flow: Flow) -> None:
    """Deactivate and hide; the row stays for the transactions that ran it."""
    change(flow, is_active=False, deleted_at=Now())
