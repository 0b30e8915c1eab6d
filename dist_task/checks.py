"""System checks: what a wrong configuration is called, and what to do about it.

The environment was judged before (`profiles.refusal`); these are for a settings module that changes ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections

from dist_task import deployed, failpoints
from dist_task.conf import conf
from dist_task.executors.base import connection_check_of, executors
from dist_task.executors.python.catalogue import CATALOGUE
from dist_task.profiles import four_eyes_problem, is_open_to_all, is_weak_key
from dist_task.sealing import bad_keys


@register(Tags.security)
def check_production_profile(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E001-E003: the production profile refuses to start without authentication, a strong key and hosts."""
    if settings.PROFILE != "production":
        return []
    problems: list[CheckMessage] = []
    if is_weak_key(settings.SECRET_KEY):
        hint = "Set the environment variable SECRET_KEY to at least 50 random characters."
        problems.append(Error("SECRET_KEY is missing or weak.", hint=hint, id="dist_task.E001"))
    if is_open_to_all(settings.ALLOWED_HOSTS):
        hint = "Set the environment variable ALLOWED_HOSTS to the names under which this service is reached."
        problems.append(Error("ALLOWED_HOSTS is empty or open to all.", hint=hint, id="dist_task.E002"))
    if settings.DIST_TASK.get("ANONYMOUS_API"):
        hint = "Remove ANONYMOUS_API from the DIST_TASK setting; create tokens in the admin console."
        problems.append(Error("The API answers without authentication.", hint=hint, id="dist_task.E003"))
    return problems


@register(Tags.security, deploy=True)
def check_failpoints(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E004: what kills workers on purpose has no place in a deployment; the production profile does not even import."""
    if failpoints.VARIABLE not in os.environ:
        return []
    hint = f"Unset the environment variable {failpoints.VARIABLE}: only tests set it."
    return [Error("Failpoints are switched on.", hint=hint, id="dist_task.E004")]


@register(Tags.security)
def check_secrets_keys(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E005: what is no key opens nothing."""
    hint = "A key is 32 random bytes in URL-safe base64: `manage.py rotate_secrets --new-key` prints one."
    return [
        Error(f"Key {place} of DIST_TASK_SECRETS_KEYS is no key.", hint=hint, id="dist_task.E005")
        for place in bad_keys()
    ]


@register(Tags.database)
def check_stored_secrets(app_configs: Any, databases: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """W001: secrets are stored that this process cannot read. Asked by `migrate` and `check --database default`."""
    if "default" not in (databases or ()):
        return []
    from flows.secret_rows import unreadable

    if "flows_secret" not in connections["default"].introspection.table_names():
        return []
    names = unreadable()
    if not names:
        return []
    hint = (
        "Give this process the keys they were sealed with (DIST_TASK_SECRETS_KEYS), or set them again in the console."
    )
    text = f"{len(names)} stored secrets cannot be read: {', '.join(names[:10])}."
    return [Warning(text, hint=hint, id="dist_task.W001")]


@register()
def check_connections(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E006: a connection that no task could use. What it holds is not shown: there may be passwords in it."""
    hint = f"Mend the environment variable {deployed.VARIABLE} (docs/executors.md says what each kind takes)."
    return [
        Error(f"The connection {name!r} is wrong: {problem}.", hint=hint, id="dist_task.E006")
        for name, connection in settings.DIST_TASK.get("CONNECTIONS", {}).items()
        for problem in _connection_problems(connection)
    ]


@register()
def check_task_modules(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E007: a module of task functions that cannot be imported, a function whose inputs are not sound, no process."""
    hint = "Mend it, or take it out of the environment variable TASK_MODULES (docs/executors.md says how to write one)."
    CATALOGUE.load()
    problems: list[CheckMessage] = []
    if conf.PYTHON_PROCESSES < 1:
        problems.append(Error("PYTHON_PROCESSES must be 1 or more.", id="dist_task.E007"))
    return problems + [
        Error(f"{name!r} offers no tasks: {fault}.", hint=hint, id="dist_task.E007")
        for name, fault in CATALOGUE.faults.items()
    ]


@register(Tags.security)
def check_four_eyes(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """E008, W002: a rule that would not hold, or under which nobody has a name."""
    if problem := four_eyes_problem(conf.FOUR_EYES, hours=conf.FOUR_EYES_HOURS):
        hint = "Mend FOUR_EYES and FOUR_EYES_HOURS of the DIST_TASK setting (docs/deployment.md)."
        return [Error(f"The four-eyes rule {problem}.", hint=hint, id="dist_task.E008")]
    if conf.FOUR_EYES and conf.ANONYMOUS_API:
        hint = "What needs a second person is refused without a token or a login; make users and tokens."
        return [
            Warning("The API answers without authentication, under the four-eyes rule.", hint=hint, id="dist_task.W002")
        ]
    return []


def _connection_problems(connection: Any) -> list[str]:
    if not isinstance(connection, Mapping) or not isinstance(connection.get("kind"), str):
        return ["it must be an object with a kind"]
    checks = {kind: check for kind, executor in executors().items() if (check := connection_check_of(executor))}
    kind = connection["kind"]
    if kind not in checks:
        return [f"its kind must be one of {', '.join(sorted(checks))}, not {kind!r}"]
    return checks[kind]({key: value for key, value in connection.items() if key != "kind"})
