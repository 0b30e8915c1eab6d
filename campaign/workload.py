"""The mixed flows, and how each of them may end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from dist_task.engine.start import StartRequest, start
from flows.models import Flow

AUTO = {"strategy": "auto", "max_attempts": 60, "interval": 0.05}


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """`end` without faults. A manual task in flight when its worker dies may end `failed` and unknown instead."""

    name: str
    tasks: list[dict[str, Any]]
    end: str
    manual: frozenset[str] = field(default=frozenset())
    few_attempts: bool = False
    on_failure: str = "wait"

    @property
    def compensation(self) -> str:
        """With which it ends, where it ends as it should."""
        return "done" if self.on_failure == "compensate" and self.end == "failed" else "none"

    @property
    def may_fail(self) -> bool:
        return bool(self.manual) or self.few_attempts


def kinds(url: str) -> list[Kind]:
    """Of flows that need nothing but a worker."""

    def http(task_id: str, path: str = "/ok", *after: str, **more: Any) -> dict[str, Any]:
        return call(task_id, {"url": url + path}, *after, **more)

    def undo(path: str) -> dict[str, Any]:
        return {"compensate": {"config": {"url": url + path}, "retry": AUTO, "timeout": 5}}

    manual = {"retry": {"strategy": "manual"}}
    return [
        Kind("chain", [http("a"), http("b", "/ok", "a"), http("c", "/ok", "b")], end="success"),
        Kind(
            "diamond",
            [http("a"), *(http(each, "/ok", "a") for each in "bcd"), http("e", "/ok", "b", "c", "d")],
            end="success",
        ),
        Kind("flaky", [http("a", "/flaky"), http("b", "/flaky", "a")], end="success"),
        Kind("lost", [http("a", "/lost"), http("b", "/ok", "a")], end="success"),
        Kind("slow", [http("a", "/slow"), http("b", "/slow"), http("c", "/ok", "a", "b")], end="success"),
        Kind("killer", [http("k", retry={**AUTO, "max_attempts": 2})], end="success", few_attempts=True),
        Kind("noop", [{"id": "a", "type": "noop", "retry": AUTO}], end="success"),
        Kind(
            "manual",
            [http("a", "/ok", **manual), http("b", "/slow", "a", retry={"strategy": "no_retry"})],
            end="success",
            manual=frozenset("ab"),
        ),
        Kind("refused", [http("a", "/refuse", **manual), http("b", "/ok", "a")], end="failed", manual=frozenset("a")),
        Kind(
            "undone",
            [
                http("a", **undo("/flaky")),
                http("b", "/ok", "a"),
                *(http(each, "/ok", "b", **undo("/slow")) for each in "cd"),
                http("e", "/refuse", "c", "d", **undo("/ok")),
            ],
            end="failed",
            on_failure="compensate",
        ),
        Kind("unknown", [http("a", "/lost", **manual)], end="failed", manual=frozenset("a")),
        Kind(
            "items",
            [http("a"), http("b", "/flaky", "a", foreach="[1..5]", max_parallel=2), http("c", "/ok", "b")],
            end="success",
        ),
        Kind(
            "items_undone",
            [
                http("a", "/slow", foreach="[1..4]", **undo("/flaky")),
                http("b", "/refuse", "a", **undo("/ok")),
            ],
            end="failed",
            on_failure="compensate",
        ),
        Kind("nested", [http("a"), subflow("b", "flaky", "a"), http("c", "/ok", "b")], end="success"),
        Kind("inner", [http("a", **undo("/flaky")), http("b", "/ok", "a", **undo("/ok"))], end="success"),
        Kind(
            "nested_undone",
            [subflow("a", "inner", foreach="[1..2]"), http("b", "/refuse", "a", **undo("/ok"))],
            end="failed",
            on_failure="compensate",
        ),
    ]


def called_back(url: str) -> Kind:
    """Of a flow whose service goes on with its work and calls back: somebody has to see that this arrives."""
    offered = {"url": f"{url}/accept", "callback": True}
    tasks = [call("a", offered), call("b", offered, "a"), call("c", {"url": f"{url}/ok"}, "b")]
    return Kind("called_back", tasks, end="success")


def call(task_id: str, config: dict[str, Any], *after: str, **more: Any) -> dict[str, Any]:
    task = {"id": task_id, "type": "http", "config": config, "depends_on": list(after)}
    return {**task, "retry": AUTO, "timeout": 5, **more}


def subflow(task_id: str, kind: str, *after: str, **more: Any) -> dict[str, Any]:
    task = {"id": task_id, "type": "subflow", "config": {"flow": f"campaign_{kind}"}, "depends_on": list(after)}
    return {**task, "retry": AUTO, **more}


def flow_name(kind: Kind) -> str:
    return f"campaign_{kind.name}"


def post(kind: Kind) -> Flow:
    return Flow.objects.create(
        name=flow_name(kind),
        version=Flow.objects.filter(name=flow_name(kind)).count() + 1,
        flow_type="campaign",
        definition=json.dumps({"tasks": kind.tasks, "on_failure": kind.on_failure}),
        task_definitions={},
        create_user="campaign",
    )


def poison() -> None:
    """Transactions whose definition cannot be read: they are put aside and delay nobody."""
    flow = post(Kind("poison", [{"id": "a", "type": "noop"}], end=""))
    Flow.objects.filter(pk=flow.pk).update(definition="not json")
    for number in range(5):
        start(StartRequest(f"poison-{number}", flow.pk, {}))
