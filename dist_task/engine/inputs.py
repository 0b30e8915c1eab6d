"""What the tasks of one transaction are given: kept while a worker holds it, made when an attempt begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dist_task.errors import InvalidRequest
from dist_task.states import Op
from flows.fields import task_parameters

from .loaded import Step
from .store.claims import StoredRun


class Inputs:
    """Of one direction. What is not in memory is named by `lacking`, and is to be brought by `learn`."""

    def __init__(
        self, *, op: str, steps: Mapping[str, Step], params: Mapping[str, Any], runs: Iterable[StoredRun]
    ) -> None:
        self._op = op
        self._steps = steps
        self._params = params
        self._stored = {run.task_id: run.input for run in runs if run.input is not None}
        self._done: dict[str, tuple[Any, Any]] = {}

    def lacking(self, task_id: str) -> frozenset[str]:
        """The tasks whose input and output have to be known first."""
        if self._op == Op.ACTION or task_id in self._stored or task_id in self._done:
            return frozenset()
        return frozenset((task_id,))

    def learn(self, done: Mapping[str, tuple[Any, Any]]) -> None:
        """Task id to input and output of its forward run."""
        self._done.update(done)

    def of(self, task_id: str) -> Any:
        """What the run has had since its first attempt, else what is made for it now; None where that cannot be."""
        if task_id not in self._stored:
            try:
                self._stored[task_id] = self.made(task_id)
            except InvalidRequest:
                return None
        return self._stored[task_id]

    def made(self, task_id: str) -> dict[str, Any]:
        """Raises InvalidRequest where the transaction's params do not fit.

        A compensation gets what its task was given, and what that gave as `output`.
        """
        if self._op == Op.ACTION:
            return task_parameters(self._steps[task_id].spec, params=self._params)
        given, gave = self._done.pop(task_id, (None, None))
        return {**(given or {}), "output": gave}
