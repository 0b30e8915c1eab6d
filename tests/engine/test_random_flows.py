"""Random flows through a real worker: every kind of task, failure and end; the invariants are the judge.

`verify` (at the end of each test with a worker) looks at order, joins, counts, exceptions and undoing; here is what it
cannot know: how each flow had to end.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from dist_task.models import TaskRun

from .conftest import begin, finished, make_flow
from .service import Answer, Service
from .worker import WorkerThread

FLOWS = 12
REFUSED = Answer(400, body={"code": "NO"})
SOON = {"strategy": "auto", "max_attempts": 2, "interval": 0}


class Author:
    """Writes flows, and knows how they end: `refused` are the tasks whose service says no."""

    def __init__(self, seed: int, service: Service) -> None:
        self.chance = random.Random(seed)
        self.service = service
        self.refused: set[str] = set()
        self.inner = make_flow({"id": "in", "type": "noop", "compensate": {}}, name=f"inner_{seed}")

    def tasks(self, number: int) -> Iterator[dict[str, Any]]:
        ids = [f"f{number}t{index}" for index in range(self.chance.randint(1, 9))]
        for index, task_id in enumerate(ids):
            needs = self.chance.sample(ids[:index], k=min(index, self.chance.randint(0, 3)))
            yield self.task(task_id, needs=needs)

    def task(self, task_id: str, *, needs: list[str]) -> dict[str, Any]:
        task: dict[str, Any] = {"id": task_id, "depends_on": needs, "retry": SOON}
        task |= self.chance.choice([self.called, self.nothing, self.nothing, self.child])(task_id)
        if self.chance.random() < 0.3:
            task |= {"foreach": f"[1..{self.chance.randint(0, 5)}]", "max_parallel": self.chance.randint(1, 3)}
        if self.chance.random() < 0.2:
            task["when"] = self.chance.choice(["false", "true", "$count(params.nobody) > 0"])
        if self.chance.random() < 0.2:
            task["optional"] = True
        if task["type"] == "noop" and self.chance.random() < 0.5:
            task["compensate"] = {}
        return task

    def called(self, task_id: str) -> dict[str, Any]:
        if self.chance.random() < 0.4:
            self.refused.add(task_id)
            self.service.answer(f"/{task_id}", *[REFUSED] * 9)
        elif self.chance.random() < 0.3:
            self.service.answer(f"/{task_id}", Answer(503))
        undo = {"config": {"url": self.service.url(f"/undo-{task_id}")}, "retry": SOON}
        return {"type": "http", "config": {"url": self.service.url(f"/{task_id}")}, "compensate": undo}

    def nothing(self, task_id: str) -> dict[str, Any]:
        return {"type": "noop", "config": {}}

    def child(self, task_id: str) -> dict[str, Any]:
        return {"type": "subflow", "config": {"flow": self.inner.name}}

    def end_of(self, tasks: list[dict[str, Any]]) -> dict[str, str]:
        """Task to how it ends, for those that begin or are passed over."""
        ends: dict[str, str] = {}
        for task in tasks:
            if all(ends.get(needed) in ("success", "skipped", "passed") for needed in task["depends_on"]):
                ends[task["id"]] = self.end_of_one(task)
        return ends

    def end_of_one(self, task: dict[str, Any]) -> str:
        if task.get("when", "true") != "true":
            return "skipped"
        if task["id"] not in self.refused or task.get("foreach") == "[1..0]":
            return "success"
        return "passed" if task.get("optional") else "failed"


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_they_end_as_they_had_to(worker: WorkerThread, service: Service, seed: int) -> None:
    author = Author(seed, service)
    written = []
    for number in range(FLOWS):
        tasks = list(author.tasks(number))
        on_failure = author.chance.choice(["wait", "compensate"])
        written.append((tasks, on_failure, begin(make_flow(*tasks, on_failure=on_failure))))

    for tasks, on_failure, instance_id in written:
        txn, ends = finished(instance_id), author.end_of(tasks)
        has_failed = "failed" in ends.values()
        assert txn.status == ("failed" if has_failed else "success"), (tasks, ends)
        assert txn.compensation == ("done" if has_failed and on_failure == "compensate" else "none")
        runs = TaskRun.objects.filter(transaction=txn, op="action", item=-1).values_list("task_id", "status")
        assert dict(runs) == {task: "failed" if end == "passed" else end for task, end in ends.items()}
