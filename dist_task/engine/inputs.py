"""What the tasks of one transaction are given: kept while a worker holds it, made when an attempt begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dist_task.errors import InvalidRequest
from dist_task.executors.secrets import places
from dist_task.payload import dumps, loads_untrusted
from dist_task.states import Op
from flows.expressions import as_condition
from flows.fields import convert, task_parameters
from flows.filling import Values

from .loaded import Step
from .store.claims import Claimed, StoredRun

NOTHING: frozenset[str] = frozenset()


def _refuse_named_secrets(config: Mapping[str, Any], *, by_author: Mapping[Any, frozenset[str]]) -> None:
    """Executors fill in the secrets that a config names: the author may name them, the data of a transaction not."""
    for place, names in places(config):
        if not by_author.get(place, NOTHING).issuperset(names):
            raise InvalidRequest("the data for this task's config looks like a template of a secret")


class Inputs:
    """Of one direction. What is not in memory is named by `lacking`, and is to be brought by `learn`."""

    def __init__(
        self,
        claimed: Claimed,
        *,
        op: str,
        forth: Mapping[str, Step],
        steps: Mapping[str, Step],
        runs: Iterable[StoredRun],
    ) -> None:
        self._claimed = claimed
        self._is_forth = op == Op.ACTION
        self._forth = forth
        self._steps = steps
        self._stored = {run.task_id: run.input for run in runs if run.input is not None}
        self._done: dict[str, tuple[Any, Any]] = {}
        self._outputs: dict[str, Any] = {}

    def lacking(self, task_id: str) -> frozenset[str]:
        """The tasks whose input and output have to be known before this one begins."""
        needs = self._steps[task_id].needs
        if self._is_forth and not needs:
            return NOTHING
        return (needs if self._is_forth else needs | {task_id}) - self._done.keys()

    def learn(self, done: Mapping[str, tuple[Any, Any]]) -> None:
        """Task id to input and output of its forward run."""
        self._done.update(done)
        for task_id, (_given, gave) in done.items():
            self._outputs[task_id] = self._forth[task_id].reachable(gave)

    def saw(self, task_id: str, *, output: Any) -> None:
        """What a task has just given: as it would be read again from its row."""
        self.learn({task_id: (None, loads_untrusted(dumps(output)))})

    def of(self, task_id: str) -> Any:
        """What the run has had since its first attempt, else what is made for it now; None where that cannot be."""
        if task_id not in self._stored:
            try:
                self._stored[task_id] = self.made(task_id)
            except InvalidRequest:
                return None
        return self._stored[task_id]

    def made(self, task_id: str) -> dict[str, Any]:
        """Raises InvalidRequest where the transaction's params or what other tasks gave do not fit.

        A compensation that says no `input` gets what its task was given, and what that gave as `output`.
        """
        spec = self._steps[task_id].spec
        if spec.input is not None:
            given: dict[str, Any] = spec.input.fill(self._values(task_id))
            return convert(spec.inputs, given, path="input") if spec.inputs else given
        if self._is_forth:
            return task_parameters(spec, params=self._claimed.params)
        given, gave = self._done[task_id]
        return {**(given or {}), "output": gave}

    def is_wanted(self, task_id: str) -> bool:
        """Whether the task's condition says that it is to run. Raises ExpressionFailed where it has no result."""
        when = self._steps[task_id].spec.when
        return when is None or as_condition(when.evaluate(self._values(task_id)))

    def config(self, task_id: str, *, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """With its templates filled; raises InvalidRequest where one finds nothing."""
        step = self._steps[task_id]
        if step.constant_config is not None:
            return step.constant_config
        filled: Mapping[str, Any] = step.spec.config_template.fill(self._values(task_id, given=given))
        _refuse_named_secrets(filled, by_author=step.config_secrets)
        if step.executor is not None and (problems := step.executor.check_config(filled)):
            raise InvalidRequest("; ".join(problems))
        return filled

    def _values(self, task_id: str, *, given: Any = None) -> Values:
        """`given` is what the task gets; for the input of a compensation it is what the task itself got."""
        claimed = self._claimed
        before, gave = (None, None) if self._is_forth else self._done[task_id]
        return Values(
            claimed.instance_id,
            params=claimed.params,
            outputs=self._outputs,
            input=before if given is None else given,
            output=None if self._is_forth else self._forth[task_id].reachable(gave),
        )
