"""A posted definition becomes the next version of its flow, or the latest one again when nothing changed."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext_noop as _

from dist_task.executors.base import executors
from dist_task.payload import CONTROL, UNSTORABLE
from dist_task.problems import InvalidValue, Problem, Problems

from .advice import warnings_of
from .definition import FlowDefinition, InvalidDefinition, to_text
from .models import Flow, TaskDefinition
from .registry_rows import Snapshot, load, parse, snapshot


def register(
    *, name: str, flow_type: str, definition: str | dict[str, Any], create_user: str, description: str = ""
) -> Flow:
    """Raises InvalidValue. The latest version posted again is answered: deploy scripts can repeat."""
    check_words(name=name, flow_type=flow_type, create_user=create_user, description=description)
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


def check_words(*, name: str, flow_type: str, create_user: str, description: str) -> None:
    """Raises InvalidValue for what no interface may let in: these stand in logs, pages and addresses."""
    problems = Problems(root="flow")
    for column, text in (("name", name), ("flow_type", flow_type), ("create_user", create_user)):
        longest = max_length(column)
        if CONTROL.search(text):
            problems.add(column, _("Has a line break or another control character."), hint=_("remove the character"))
        if len(text) > longest:
            message = _("must have at most %(longest)d characters")
            problems.add(column, message, hint=_("shorten it"), longest=longest)
    if UNSTORABLE.search(description):
        message = _("has a character that is not allowed (control character or lone surrogate)")
        problems.add("description", message, hint=_("remove the character"))
    if len(problems):
        raise InvalidValue(problems.report())


def max_length(column: str) -> int:
    return cast(models.CharField, Flow._meta.get_field(column)).max_length or 0


def check(definition: str | dict[str, Any]) -> Snapshot:
    """Raises InvalidDefinition with every problem; answers the registry entries that the definition names."""
    known = whole_registry()
    parsed = parse(definition, pinned=known)
    return {name: known[name] for name in sorted(parsed.task_names) if name in known}


def read(definition: str | dict[str, Any]) -> FlowDefinition:
    """The flow that posting the definition now would make. Raises InvalidDefinition with every problem."""
    return parse(definition, pinned=whole_registry())


class Findings(NamedTuple):
    """`warnings` are no reason to refuse a definition; one that has problems has none, since nobody looked."""

    problems: list[Problem]
    warnings: list[Problem]


def examine(definition: str | dict[str, Any]) -> Findings:
    """Everything for which posting the definition would be refused, or what its author should look at."""
    try:
        found = read(definition)
    except InvalidDefinition as error:
        return Findings(error.problems, [])
    return Findings([], warnings_of(found, executors=executors()))


def warnings_about(flow: Flow) -> list[Problem]:
    """The same of one that is registered; nothing of one from earlier times that is refused today."""
    try:
        return warnings_of(load(flow), executors=executors())
    except InvalidDefinition:
        return []


def whole_registry() -> Snapshot:
    return snapshot(TaskDefinition.objects.values_list("name", flat=True))


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
