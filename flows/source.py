"""The text of a definition: read strictly to a plain object, and written canonically."""

import json
from typing import Any

from django.utils.translation import gettext_noop as _

from dist_task.payload import containers, keys_of
from dist_task.problems import Problems, shown

ROOT = "definition"
MOST_OBJECTS = 150_000  # in a text: a text beyond it would take seconds to read, and has too many tasks anyway
_LONGEST_INTEGER = 1000  # digits; Python refuses to read more than 4,300


def read_object(data: Any, *, problems: Problems) -> dict[str, Any] | None:
    """The definition as an object, or None when there is none to look into."""
    value = _read_text(data, problems=problems) if isinstance(data, str | bytes) else data
    if len(problems) and value is None:
        return None
    if not isinstance(value, dict):
        problems.add(ROOT, _("must be a JSON object"))
        return None
    return value


def write_text(data: dict[str, Any]) -> str:
    """Compact JSON, keys in the order given. ValueError for NaN, TypeError, RecursionError for too deep."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class _Repeated(dict[str, Any]):
    """An object in which keys were given more than once (the last value counts)."""

    repeated: list[str]


def _read_text(data: str | bytes, *, problems: Problems) -> Any:
    hook = _PairsHook()
    try:
        text = data if isinstance(data, str) else data.decode()
        if text.count("{") > MOST_OBJECTS:
            message = _("has too many objects: a flow may have 10,000 tasks, and %(most)d objects in all")
            problems.add("tasks", message, hint=_("split it into several flows"), most=MOST_OBJECTS)
            return None
        value = json.loads(text, object_pairs_hook=hook, parse_int=_read_integer)
    except json.JSONDecodeError as error:
        message = _("is not JSON: line %(line)d, column %(column)d: %(reason)s")
        problems.add(ROOT, message, line=error.lineno, column=error.colno, reason=error.msg)
    except UnicodeDecodeError as error:
        problems.add(ROOT, _("is not UTF-8 text (byte %(byte)d)"), byte=error.start)
    except RecursionError:
        problems.add(ROOT, _("is nested too deeply"))
    else:
        if hook.met_repetition:
            _report_repetitions(value, problems=problems)
        return value
    return None


class _PairsHook:
    def __init__(self) -> None:
        self.met_repetition = False

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        self.met_repetition = True
        repeated = _Repeated(value)
        keys = [key for key, _value in pairs]
        repeated.repeated = [key for key in value if keys.count(key) > 1]
        return repeated


def _read_integer(digits: str) -> int:
    """Longer ones are cut to a number that is refused later, with its path, for being beyond 64 bits."""
    return int(digits[:_LONGEST_INTEGER])


def _report_repetitions(value: Any, *, problems: Problems) -> None:
    for container in containers(value):
        if isinstance(container.value, _Repeated):
            for key in container.value.repeated:
                message = _("the key %(key)s is given more than once")
                hint = _("remove all but one of them")
                problems.add_at("", keys_of((container.link, key)), message, hint=hint, key=shown(key))
