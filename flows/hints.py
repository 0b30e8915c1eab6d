"""What to write instead: every problem of a definition gets a hint, if need be an example of the key. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from django.utils.translation import gettext

from dist_task.problems import Fault, Meant, Problem, Problems

ROOT = "definition"
EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        ROOT: {"tasks": [{"id": "pay", "type": "http", "config": {"url": "http://payment/pay"}}]},
        "tasks": [{"id": "pay", "type": "http", "config": {"url": "http://payment/pay"}}],
        "on_failure": "compensate",
        "params_schema": {"type": "object", "required": ["order_id"]},
        "name": "pay the order",
        "description": "takes the money from the account",
        "id": "pay",
        "task_name": "http_request",
        "type": "http",
        "depends_on": ["reserve"],
        "config": {"url": "http://payment/pay"},
        "timeout": 30,
        "total_timeout": 600,
        "optional": True,
        "input": {"amount": "${params.amount}"},
        "input_from": {"amount": "$.params.amount"},
        "output": "payment",
        "when": "params.amount > 0",
        "foreach": "params.items",
        "max_parallel": 10,
        "retry": {"strategy": "auto", "max_attempts": 3, "interval": 5},
        "compensate": {"config": {"url": "http://payment/refund"}},
        "strategy": "auto",
        "max_attempts": 3,
        "interval": 5,
        "backoff": "exponential",
        "multiplier": 2,
        "max_interval": 300,
        "jitter": "full",
        "terminal_on": ["INSUFFICIENT_FUNDS"],
    }
)
"""Of each key of a flow, a task, a retry policy and a compensation. Those of a config are its executor's `examples`."""
_WITH_KEYS = frozenset(("tasks", "retry", "compensate"))  # what is inside them has examples of its own
_NAMES = re.compile(r"[^.\[\]]+(?![^\[]*\])")


def with_hints(problems: Iterable[Problem]) -> list[Problem]:
    """The same problems; those without a hint have the example of the innermost key of their path."""
    return [each if each.hint else replace(each, hint=_hint_for(each.path)) for each in problems]


def example_of(key: str, examples: Mapping[str, Any]) -> str:
    """The hint that shows how the key is written; "" where there is no example of it."""
    if key not in examples:
        return ""
    value = json.dumps(examples[key], ensure_ascii=False)
    return gettext("for example %(example)s") % {"example": value if key == ROOT else f'"{key}": {value}'}


def report_config(
    sentences: Iterable[str], *, kind: str, path: str, problems: Problems, examples: Mapping[str, Any]
) -> None:
    """What an executor says of a config: each at its key, where it says which. A stranger meets the known ones."""
    if examples:
        otherwise = gettext("known are: %(known)s") % {"known": ", ".join(sorted(examples))}
    else:
        otherwise = gettext("leave it out, or write what the task type %(type)s takes") % {"type": kind}
    for sentence in sentences:
        key, told = (sentence.key, sentence.hint) if isinstance(sentence, Fault) else ("", "")
        meant = Meant(key, examples) if key and key not in examples else None
        hint = told or example_of(key, examples) or otherwise
        problems.add_at(path, (key,) if key else (), sentence, meant=meant, hint=hint)


def _hint_for(path: str) -> str:
    found = ROOT
    for name in _NAMES.findall(path):
        if name not in EXAMPLES:
            break
        found = name
        if name not in _WITH_KEYS:
            break
    return example_of(found, EXAMPLES)
