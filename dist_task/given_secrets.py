"""Secrets that the deployment gives: variables of the environment, and files as Docker and Kubernetes mount them.

Pure but for reading those two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.payload import UNSTORABLE
from dist_task.redaction import SHORTEST_SECRET

VARIABLE = "DIST_TASK_SECRET_"
LONGEST_SECRET = 65_536
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def in_environment() -> dict[str, str]:
    """Name to value."""
    given = ((key.removeprefix(VARIABLE), value) for key, value in os.environ.items() if key.startswith(VARIABLE))
    return {name: value for name, value in given if NAME.fullmatch(name)}


def in_files() -> dict[str, str]:
    """Name to value, without the line break at the end that editors and `echo` leave. Unreadable files are left out."""
    found = {}
    for path in _files():
        try:
            with path.open(encoding="utf-8", newline="") as file:
                found[path.name] = file.read(LONGEST_SECRET + 1).removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError):
            continue
    return found


def fault_of(value: str) -> str:
    """Why a value cannot be a secret; empty when it can. Says nothing of the value."""
    if len(value) < SHORTEST_SECRET:
        return _("it is shorter than %(least)d characters, and could not be masked") % {"least": SHORTEST_SECRET}
    if len(value) > LONGEST_SECRET:
        return _("it is longer than %(most)d characters") % {"most": LONGEST_SECRET}
    if UNSTORABLE.search(value):  # bytes of a variable that are no text come as lone surrogates
        return _("it has a character that is not allowed")
    return ""


def _files() -> Iterator[Path]:
    if not conf.SECRETS_DIR:
        return
    try:
        paths = sorted(Path(conf.SECRETS_DIR).iterdir())
    except OSError:
        return
    yield from (path for path in paths if NAME.fullmatch(path.name) and path.is_file())
