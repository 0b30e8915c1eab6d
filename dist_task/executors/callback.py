"""Where a service says that work it went on with has ended: an address that only the service knows.

Nothing of it is stored: the token is the name of the task run, and a code over it by a key derived from SECRET_KEY. All
attempts of a run carry the same one. Who can read a log must not be able to answer: it is shown nowhere.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import ExecutionError
from dist_task.problems import Fault, faults

from .base import TaskCall
from .checks import form_problems
from .connection import Answer

HEADER = "X-Dist-Task-Callback"
PATH = "/api/v1/callbacks/"
SALT = "dist_task.executors.callback"
LONGEST_TOKEN = 1_000
HIDDEN = b"***"


class RunName(NamedTuple):
    """Of a task run, from outside."""

    instance_id: str
    task_id: str
    op: str
    item: int


def is_offered(config: Mapping[str, Any]) -> bool:
    return config.get("callback") is True


def callback_problems(config: Mapping[str, Any]) -> list[str]:
    if not isinstance(config.get("callback", False), bool):
        return [Fault(_("callback must be true or false"), key="callback")]
    if not is_offered(config):
        is_alone = "callback_within" in config
        return [Fault(_("callback_within needs callback: true"), key="callback_within")] if is_alone else []
    if not conf.PUBLIC_URL:
        return [Fault(_("callback needs the address of this service: set DIST_TASK_PUBLIC_URL"), key="callback")]
    return faults("callback", form_problems(conf.PUBLIC_URL, key="PUBLIC_URL"))


def headers_of(call: TaskCall) -> dict[str, str]:
    """The header of a call that offers a callback. Raises ExecutionError where nobody could reach us."""
    if not is_offered(call.config):
        return {}
    if not conf.PUBLIC_URL:
        message = _("callback needs the address of this service: set DIST_TASK_PUBLIC_URL")
        raise ExecutionError(message, code="NO_PUBLIC_URL")
    name = RunName(call.instance_id, call.task_id, call.op, call.item)
    return {HEADER: conf.PUBLIC_URL.rstrip("/") + PATH + token_of(name)}


def without_token(answer: Answer, *, offered: Mapping[str, str]) -> Answer:
    """A service that echoes the address does not get it into outputs and logs."""
    if not offered:
        return answer
    token = offered[HEADER].rpartition("/")[2].encode()
    headers = {name: value.replace(token, HIDDEN) for name, value in answer.headers.items()}
    return answer._replace(headers=headers, body=answer.body.replace(token, HIDDEN))


def token_of(name: RunName, *, key: str | None = None) -> str:
    """`key` is the secret key that it is signed with, the present one by default."""
    named = _encoded(orjson.dumps([*name]))
    return f"{named}.{_encoded(salted_hmac(SALT, named, secret=key, algorithm='sha256').digest())}"


def run_of(token: str) -> RunName | None:
    """The run whose token this is; None for one that we never gave away, or whose key is known no longer."""
    name = _named(token) if len(token) <= LONGEST_TOKEN else None
    if name is None:
        return None
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    is_ours = any(constant_time_compare(token, token_of(name, key=key)) for key in keys)
    return name if is_ours else None


def _named(token: str) -> RunName | None:
    try:
        return RunName(*orjson.loads(urlsafe_b64decode(token.partition(".")[0] + "===")))
    except (ValueError, TypeError, binascii.Error):
        return None


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
