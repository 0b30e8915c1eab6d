"""The connections that a deployment registers in its environment. Stdlib only: the supervisor asks before it starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

VARIABLE = "DIST_TASK_CONNECTIONS"


def connections(given: str) -> dict[str, dict[str, Any]]:
    """Name to what was registered under it. `given` is a JSON object, or the path of a file that holds one.

    ValueError with the rest of a sentence about it, which shows none of its text: that may hold passwords.
    """
    if not given.strip():
        return {}
    found = _read(given.strip())
    if not isinstance(found, dict):
        raise ValueError("is not a JSON object of connections by their names")
    for name, connection in found.items():
        if not isinstance(connection, dict) or not isinstance(connection.get("kind"), str):
            raise ValueError(f"has no object with a kind under {name!r}")
    return found


def _read(given: str) -> Any:
    source = "" if given.startswith(("{", "[")) else given
    try:
        return json.loads(Path(source).read_text(encoding="utf-8") if source else given)
    except OSError as error:
        raise ValueError(f"is neither a JSON object nor a file that can be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON in UTF-8") from None
