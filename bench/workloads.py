"""The measured flows. Pure."""

from __future__ import annotations

from typing import Any

WIDE = 100
LONG = 100
SLOW = 10
TASKS = {"W3": 3, "W0": 3, "P5": 5, "F100": 1 + WIDE, "C100": LONG}
"""Tasks per flow of a throughput workload."""
CALLS = {**TASKS, "W0": 0}
"""Calls of the step server per flow."""


def definitions(*, step_port: int) -> dict[str, dict[str, Any]]:
    step = {"url": f"http://127.0.0.1:{step_port}/step"}
    return {
        "W3": _flow("W3", [_http(step, "a"), _http(step, "b", "a"), _http(step, "c", "b")]),
        "W0": _flow("W0", [_noop("a"), _noop("b", "a"), _noop("c", "b")]),
        "P5": _flow("P5", _diamond(step)),
        "F100": _flow("F100", [_http(step, "root"), *(_http(step, f"leaf{n}", "root") for n in range(WIDE))]),
        "C100": _flow("C100", _chain(step, length=LONG)),
        "R1": _flow("R1", [{**_http({"url": f"http://127.0.0.1:{step_port}/retry"}, "a"), "retry": _retry(1)}]),
        "S10": _flow("S10", _slow(step_port)),
    }


def _flow(name: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": f"bench_{name}", "flow_type": "bench", "definition": {"tasks": tasks}, "create_user": "bench"}


def _http(config: dict[str, Any], key: str, *needed: str) -> dict[str, Any]:
    return {"id": key, "type": "http", "config": config, "depends_on": list(needed)}


def _noop(key: str, *needed: str) -> dict[str, Any]:
    return {"id": key, "type": "noop", "config": {}, "depends_on": list(needed)}


def _diamond(step: dict[str, Any]) -> list[dict[str, Any]]:
    """a -> (b, c, d) -> e"""
    return [_http(step, "a"), *(_http(step, key, "a") for key in "bcd"), _http(step, "e", "b", "c", "d")]


def _chain(step: dict[str, Any], *, length: int) -> list[dict[str, Any]]:
    return [_http(step, f"t{n}", *([f"t{n - 1}"] if n else [])) for n in range(length)]


def _slow(step_port: int) -> list[dict[str, Any]]:
    """A chain of calls of 50 ms each that may be repeated: a worker that dies has some of them in flight."""
    config = {"url": f"http://127.0.0.1:{step_port}/slow"}
    return [{**task, "retry": _retry(0)} for task in _chain(config, length=SLOW)]


def _retry(seconds: float) -> dict[str, Any]:
    return {"strategy": "auto", "max_attempts": 3, "interval": seconds}
