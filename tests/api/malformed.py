"""Every documented key of a flow, with a value in its place that it cannot have: the tables behind `test_malformed`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dist_task.executors.base import executors
from flows import definition, retry, tasks

VALUES = {
    "null": "null",
    "true": "true",
    "text": '"???"',
    "empty": '""',
    "long": f'"{"x" * 20_000}"',
    "negative": "-17.5",
    "huge integer": "99999999999999999999",
    "infinite": "1e400",
    "not a number": "NaN",
    "no members": "[]",
    "list": '[true, {"a": [1]}]',
    "no keys": "{}",
    "unknown key": '{"dependson": {"a": 1}}',
    "nul": '"a\\u0000b"',
    "surrogate": '"a\\ud800b"',
    "line break": '"a\\nb"',
    "deep list": "[" * 400 + "]" * 400,
    "deep object": '{"a":' * 60 + "1" + "}" * 60,
}
"""As JSON text: some of them no Python value can be."""
FITTING = {
    "": "",
    "text": "text, empty",
    "any text": "text, empty, long",
    "prose": "text, empty, line break",
    "name": "text",
    "long name": "text, long",
    "no text": "empty",
    "flag": "true",
    "list": "no members",
    "empty": "no keys",
    "object": "no keys, unknown key",
}
"""Sort of key to those of VALUES that it may have after all."""
HOLE = "@hole@"
PAY = {"id": "pay", "type": "noop"}
BESIDE = {"max_parallel": {"foreach": "params.items"}}
"""What another key of the task needs beside it."""
ANSWERS = {"callback": "flag"} | dict.fromkeys(
    ("result_protocol", "ok_when", "error_code", "ongoing_within", "callback_within"), ""
)
FLOW = {
    "name": "text",
    "description": "prose",
    "tasks": "list",
    "on_failure": "",
    "params_schema": "object",
    "timeout": "",
}
TASK = dict.fromkeys(tasks.TASK_KEYS, "") | {
    "name": "text",
    "description": "text",
    "task_name": "text",
    "depends_on": "list",
    "config": "empty",
    "retry": "empty",
    "optional": "flag",
    "input": "object",
    "input_from": "empty",
    "compensate": "empty",
}
RETRY = dict.fromkeys(retry.KEYS, "") | {"terminal_on": "list"}
COMPENSATE = {key: TASK[key] for key in tasks.COMPENSATE_KEYS} | {"task_name": "no text"}
CONFIGS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "http": (
        {"url": "http://pay/pay"},
        {"url": "", "method": "", "headers": "empty", "query": "empty", "retry_on_4xx": "flag", **ANSWERS},
    ),
    "rpc": ({"service": "pay", "method": "m"}, {"service": "", "method": "long name", "headers": "empty", **ANSWERS}),
    "mq": (
        {"topic": "t"},
        {"topic": "name", "connection": "", "exchange": "no text", "headers": "empty", "persistent": "flag"},
    ),
    "db": (
        {"connection": "bank", "operation": "update", "table": "accounts", "where": {"id": 1}, "values": {"a": 1}},
        dict.fromkeys(("connection", "operation", "table", "where", "increment", "decrement", "expect_rows"), "")
        | {"values": "", "returning": ""},
    ),
    "wait": ({}, {"seconds": "", "until": ""}),
    "approval": ({}, {"role": "text", "message": "text", "within": ""}),
    "subflow": ({}, {"flow": "", "flow_id": ""}),
    "noop": ({}, {}),
}
MORE_CONFIGS: Mapping[str, tuple[dict[str, Any], dict[str, str]]] = {
    "http": ({"connection": "payment"}, {"connection": "", "path": "no text"}),
    "db": (
        {"connection": "bank", "operation": "upsert", "table": "accounts", "values": {"id": 1}},
        {"conflict": ""},
    ),
}
"""Keys that stand beside others."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands. `flow`: a definition that is right but for HOLE, which stands for the key's value."""

    path: str
    flow: Mapping[str, Any]
    sort: str

    def __str__(self) -> str:
        kind = self.flow["tasks"][0].get("type", "") if isinstance(self.flow["tasks"], list) else ""
        return f"{self.path}-{kind}"

    def definition(self, value: str) -> str:
        return json.dumps(self.flow).replace(json.dumps(HOLE), value)

    def faults(self) -> Iterator[str]:
        fitting = FITTING[self.sort].split(", ")
        return (name for name in VALUES if name not in fitting)


def places() -> Iterator[Place]:
    for key, sort in FLOW.items():
        yield Place(key, {"tasks": [PAY], key: HOLE}, sort)
    yield from in_task(TASK, path="tasks[0]")
    yield from in_task(RETRY, path="tasks[0].retry", around=lambda inner: {"retry": {"strategy": "auto", **inner}})
    yield from in_task(COMPENSATE, path="tasks[0].compensate", around=lambda inner: {"compensate": inner})
    undo = "tasks[0].compensate.retry"
    yield from in_task(RETRY, path=undo, around=lambda inner: {"compensate": {"retry": {"strategy": "auto", **inner}}})
    for configs in (CONFIGS, MORE_CONFIGS):
        for kind, (base, keys) in configs.items():
            yield from in_config(kind, base=base, keys=keys)


def in_task(keys: Mapping[str, str], *, path: str, around: Any = dict) -> Iterator[Place]:
    for key, sort in keys.items():
        task = {**PAY, **around({key: HOLE}), **BESIDE.get(key, {})}
        yield Place(f"{path}.{key}", {"tasks": [task]}, sort)


def in_config(kind: str, *, base: Mapping[str, Any], keys: Mapping[str, str]) -> Iterator[Place]:
    for key, sort in keys.items():
        config = {**base, key: HOLE}
        task = {"id": "pay", "type": kind, "config": config}
        yield Place(f"tasks[0].config.{key}", {"tasks": [task]}, sort)


def documented() -> dict[str, Collection[str]]:
    """The keys that the code knows, by where they stand."""
    configs = {kind: getattr(executor, "examples", {}) for kind, executor in executors().items()}
    return {
        "flow": definition.FLOW_KEYS,
        "task": tasks.TASK_KEYS,
        "retry": retry.KEYS,
        "compensate": tasks.COMPENSATE_KEYS,
        **{f"config of {kind}": set(keys) for kind, keys in configs.items()},
    }


def in_tables() -> dict[str, Collection[str]]:
    """The same, of the tables above."""
    configs = {kind: {*keys, *MORE_CONFIGS.get(kind, ({}, {}))[1]} for kind, (_base, keys) in CONFIGS.items()}
    return {
        "flow": FLOW.keys(),
        "task": TASK.keys(),
        "retry": RETRY.keys(),
        "compensate": COMPENSATE.keys(),
        **{f"config of {kind}": keys for kind, keys in configs.items()},
    }
