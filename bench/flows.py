"""The measured flows. Pure."""

from __future__ import annotations

from typing import Any


def definitions(*, step_port: int) -> dict[str, dict[str, Any]]:
    step = {"url": f"http://127.0.0.1:{step_port}/step"}
    return {
        "W3": _flow("W3", _chain("http", config=step)),
        "W0": _flow("W0", _chain("noop", config={})),
        "P5": _flow("P5", _diamond(step)),
        "R1": _flow("R1", [_retried(f"http://127.0.0.1:{step_port}/retry")]),
    }


def _flow(name: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": f"bench_{name}",
        "flow_type": "bench",
        "definition": {"tasks": tasks},
        "create_user": "bench",
    }


def _chain(kind: str, *, config: dict[str, Any]) -> list[dict[str, Any]]:
    """a -> b -> c"""
    before = {"a": [], "b": ["a"], "c": ["b"]}
    return [{"id": key, "type": kind, "config": config, "depends_on": needed} for key, needed in before.items()]


def _diamond(config: dict[str, Any]) -> list[dict[str, Any]]:
    """a -> (b, c, d) -> e"""
    before = {"a": [], "b": ["a"], "c": ["a"], "d": ["a"], "e": ["b", "c", "d"]}
    return [{"id": key, "type": "http", "config": config, "depends_on": needed} for key, needed in before.items()]


def _retried(url: str) -> dict[str, Any]:
    retry = {"strategy": "auto", "max_attempts": 2, "interval": 1}
    return {"id": "a", "type": "http", "config": {"url": url}, "retry": retry}
