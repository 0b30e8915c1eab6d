"""Secrets at rest: Fernet (AES-128-CBC and HMAC-SHA256) with keys of their own, never SECRET_KEY.

The newest key seals, every key opens. What is sealed carries its name, so that nobody who can write the table gets one
secret used in place of another. Bad keys are a system check (`dist_task.E005`).
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from types import ModuleType
from typing import Any

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.errors import DistTaskError

KEY_BYTES = 32


class CannotSeal(DistTaskError):
    """There is no key to seal with, or none of the keys opens what was sealed."""


def has_keys() -> bool:
    return bool(conf.SECRETS_KEYS)


def new_key() -> str:
    return urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def bad_keys() -> list[int]:
    """The places of those that are no keys, counted from 1."""
    return [place for place, key in enumerate(conf.SECRETS_KEYS, start=1) if not _is_key(key)]


def seal(value: str, *, name: str) -> str:
    """Raises CannotSeal."""
    return _keys().encrypt(json.dumps({"name": name, "value": value}).encode()).decode()


def unseal(sealed: str, *, name: str) -> str:
    """Raises CannotSeal, with a reason that holds nothing of the secret."""
    try:
        found = json.loads(_keys().decrypt(sealed.encode()))
    except (_fernet().InvalidToken, ValueError):
        raise CannotSeal(_("none of the keys of this process opens it")) from None
    if found.get("name") != name:
        raise CannotSeal(_("it was sealed under another name"))
    return str(found["value"])


def is_current(sealed: str) -> bool:
    """Whether the newest key sealed it."""
    library = _fernet()
    try:
        library.Fernet(conf.SECRETS_KEYS[0]).decrypt(sealed.encode())
    except (IndexError, library.InvalidToken, ValueError):
        return False
    return True


def _keys() -> Any:
    if not has_keys():
        raise CannotSeal(_("this process has no keys for stored secrets (DIST_TASK_SECRETS_KEYS)"))
    if bad_keys():
        raise CannotSeal(_("a key for stored secrets is no key (DIST_TASK_SECRETS_KEYS)"))
    return _fernet().MultiFernet([_fernet().Fernet(key) for key in conf.SECRETS_KEYS])


def _fernet() -> ModuleType:
    """Loaded where there is something to seal or to open: it takes 7 MB, and many deployments store no secrets."""
    from cryptography import fernet

    return fernet


def _is_key(key: str) -> bool:
    try:
        return len(urlsafe_b64decode(key)) == KEY_BYTES
    except ValueError:
        return False
