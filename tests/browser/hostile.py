"""Fills every column of text that there is with what tries to leave its place on a page."""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.apps import apps
from django.db import connection
from django.db.models import CharField, Field, JSONField, Model, TextField

OURS = ("flows", "transactions", "exceptions_app", "dist_task")
EVIL = (
    "\u202e<script>canary()</script>\u2066\"'><img src=x onerror=canary()></textarea></title></script>"
    "<svg onload=canary()><a href=javascript:canary()>${7*7}{{7*7}}\u200f"
)
LINK = "javascript:canary()//"
MEGABYTE = 1_000_000
LONGEST_WORD = 4_000
"""Where a text has no limit of its own; one that is longer than the screen by far."""
READ_BY_CODE = {
    "flows.Flow": {"id", "definition", "task_definitions"},  # refused when they are posted
    "flows.Secret": {"sealed"},
    "auth.User": {"password"},
    "auth.Permission": {"name", "codename"},  # written by migrations
    "batches.Batch": {"verb", "language"},  # of a list of ours
    "alerts.Delivery": {"key"},
    "four_eyes.ApprovalRequest": {"asked_by"},  # who may withdraw it
    "dist_task.ExecutionLog": {"op", "task_id"},
    "transactions.Transaction": {"parent_op"},
    "exceptions_app.ExceptionRecord": {"outcome", "task_id"},
    "dist_task.TaskRun": {"task_id", "answer"},  # the key of what runs, and what it no longer waits for
}
"""Columns that hold no text of other people."""
MEGABYTES = {"error_message", "message", "last_error", "response", "remark"}


def fill_with_evil() -> list[str]:
    """Past every check; the columns that were filled."""
    configs = [config for config in apps.get_app_configs() if config.name.split(".")[0] in OURS]
    models = [model for config in [*configs, apps.get_app_config("auth")] for model in config.get_models()]
    return [_fill(model, field=field) for model in models for field in _texts(model)]


def _texts(model: type[Model]) -> Iterator[Field]:
    for field in model._meta.concrete_fields:
        is_text = isinstance(field, CharField | TextField | JSONField)
        if is_text and not field.choices and field.name not in READ_BY_CODE.get(model._meta.label, ()):
            yield field


def _fill(model: type[Model], *, field: Field) -> str:
    table, column = model._meta.db_table, field.column
    key = model._meta.pk.column if model._meta.pk else ""
    number = f"row_number() over (order by {key})"
    value = (
        f"left(%s, {field.max_length or 10_000_000} - 6) || {number}"
        if not isinstance(field, JSONField)
        else "%s::jsonb"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{table}" SET "{column}" = evil.value'  # noqa: S608  # our own names
            f' FROM (SELECT {key} AS row, {value} AS value FROM "{table}") evil WHERE evil.row = "{table}".{key}',
            [_evil(field)],
        )
    return f"{model._meta.label}.{field.name}"


def _evil(field: Field) -> str:
    if isinstance(field, JSONField):
        return json.dumps({EVIL: [EVIL, LINK, "x" * LONGEST_WORD], "base_url": EVIL})
    if "url" in field.name:
        return LINK + EVIL
    return EVIL + "x" * (MEGABYTE if field.name in MEGABYTES else LONGEST_WORD)
