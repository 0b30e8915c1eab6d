"""What the tasks of one transaction are given: kept while a worker holds it, made when an attempt begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dist_task.errors import InvalidRequest
from dist_task.executors.secrets import places
from dist_task.payload import dumps, loads_untrusted
from dist_task.states import WHOLE, Op, RunKey
from flows.expressions import ExpressionFailed, as_condition, as_items
from flows.fields import convert, task_parameters
from flows.filling import Values

from .loaded import Step
from .store.claims import ALL_ITEMS, Claimed, Gathered, StoredRun

NOTHING: frozenset[RunKey] = frozenset()
ITEMS = "items"
"""What the run of a task with `foreach` has as its input: the list, as it was when the task began."""


def _refuse_named_secrets(config: Mapping[str, Any], *, by_author: Mapping[Any, frozenset[str]]) -> None:
    """Executors fill in the secrets that a config names: the author may name them, the data of a transaction not."""
    for place, names in places(config):
        if not by_author.get(place, frozenset()).issuperset(names):
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
        self._stored = {run.key: run.input for run in runs if run.input is not None}
        self._done: dict[RunKey, tuple[Any, Any]] = {}  # input and output of forward runs
        self._outputs: dict[str, Any] = {}
        self._too_large: dict[str, str] = {}  # tasks whose output cannot be looked at, and why

    # What has to be here before a run begins.

    def lacking(self, key: RunKey) -> frozenset[RunKey]:
        """The forward runs whose input and output have to be known before this run begins."""
        task_id, item = key
        step = self._steps[task_id]
        if self._is_forth:
            if not step.needs:
                return NOTHING
            needed = {self._outcome_of(other) for other in step.needs}
        else:
            needed = {key} | {self._outcome_of(other) for other in step.needs}
            if item != WHOLE:
                needed.add((task_id, WHOLE))
        return frozenset(needed - self._done.keys())

    def _outcome_of(self, task_id: str) -> RunKey:
        return task_id, ALL_ITEMS if self._forth[task_id].is_fan else WHOLE

    def learn(self, done: Mapping[RunKey, tuple[Any, Any]]) -> None:
        """Run to the input and output of it in the forward work."""
        self._done.update(done)
        for (task_id, item), (_given, gave) in done.items():
            reachable = self._forth[task_id].reachable
            if item == ALL_ITEMS:
                self._learn_items(task_id, gave)
            elif item == WHOLE and not self._forth[task_id].is_fan:
                self._outputs[task_id] = reachable(gave)

    def _learn_items(self, task_id: str, gathered: Gathered) -> None:
        if gathered.fault:
            self._too_large[task_id] = gathered.fault
        reachable = self._forth[task_id].reachable
        outputs = gathered.outputs
        self._outputs[task_id] = None if outputs is None else [reachable(each) for each in outputs]

    def saw(self, task_id: str, *, output: Any) -> None:
        """What a task has just given: as it would be read again from its row. Of items the rows are read again."""
        if not self._forth[task_id].is_fan:
            self.learn({(task_id, WHOLE): (None, loads_untrusted(dumps(output)))})

    def forget(self, key: RunKey) -> None:
        """The run has ended for good: nobody in this direction asks for its input any more."""
        self._stored.pop(key, None)
        if not self._is_forth:
            self._done.pop(key, None)

    # What a run is given.

    def of(self, key: RunKey) -> Any:
        """What the run has had since its first attempt, else what is made for it now; None where that cannot be."""
        if key not in self._stored:
            try:
                self._stored[key] = self.made(key)
            except InvalidRequest:
                return None
        return self._stored[key]

    def made(self, key: RunKey) -> dict[str, Any]:
        """Raises InvalidRequest where the transaction's params or what other tasks gave do not fit, ExpressionFailed.

        A compensation that says no `input` gets what its task was given, and what that gave as `output`.
        """
        task_id, item = key
        step = self._steps[task_id]
        if step.is_fan and item == WHOLE:
            return {ITEMS: self._listed(step)} if self._is_forth else {}
        spec = step.spec
        if spec.input is not None:
            given: dict[str, Any] = spec.input.fill(self._values(key))
            return convert(spec.inputs, given, path="input") if spec.inputs else given
        if not self._is_forth:
            given, gave = self._done[key]
            return {**(given or {}), "output": gave}
        if item == WHOLE:
            return task_parameters(spec, params=self._claimed.params)
        return self._item_parameters(step, item=item)

    def _listed(self, step: Step) -> list[Any]:
        assert step.spec.foreach is not None  # noqa: S101  # the caller looked
        return as_items(step.spec.foreach.evaluate(self._looked_at(step.spec.id)))

    def _item_parameters(self, step: Step, *, item: int) -> dict[str, Any]:
        """A task that says no `input` is given its item: an object as it is, anything else under a name."""
        value = self._item(step.spec.id, item)
        given = dict(value) if isinstance(value, Mapping) else {"item": value, "index": item}
        return convert(step.spec.inputs, given, path="item") if step.spec.inputs else given

    def has_begun(self, task_id: str) -> bool:
        """Whether the items of a task are known, and none of them is to be forgotten yet."""
        return (task_id, WHOLE) in self._stored

    def count(self, task_id: str) -> int:
        """How many items a task has that has begun."""
        return len(self._stored[(task_id, WHOLE)][ITEMS])

    def _item(self, task_id: str, item: int) -> Any:
        given = self._stored[(task_id, WHOLE)] if self._is_forth else self._done[(task_id, WHOLE)][0]
        return given[ITEMS][item]

    def is_wanted(self, task_id: str) -> bool:
        """Whether the task's condition says that it is to run. Raises ExpressionFailed where it has no result."""
        when = self._steps[task_id].spec.when
        return when is None or as_condition(when.evaluate(self._looked_at(task_id)))

    def _looked_at(self, task_id: str) -> Values:
        """By the expressions of a task. Raises ExpressionFailed where that cannot be: they have no result then."""
        try:
            return self._values((task_id, WHOLE))
        except InvalidRequest as error:
            raise ExpressionFailed(str(error)) from error

    def config(self, key: RunKey, *, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """With its templates filled; raises InvalidRequest where one finds nothing."""
        step = self._steps[key[0]]
        if step.constant_config is not None:
            return step.constant_config
        filled: Mapping[str, Any] = step.spec.config_template.fill(self._values(key, given=given))
        _refuse_named_secrets(filled, by_author=step.config_secrets)
        if step.executor is not None and (problems := step.executor.check_config(filled)):
            raise InvalidRequest("; ".join(problems))
        return filled

    def _values(self, key: RunKey, *, given: Any = None) -> Values:
        """`given` is what the task gets; for the input of a compensation it is what the task itself got."""
        task_id, item = key
        if faults := [self._too_large[each] for each in self._steps[task_id].needs if each in self._too_large]:
            raise InvalidRequest(faults[0])
        claimed = self._claimed
        before, gave = (None, None) if self._is_forth else self._done[key]
        return Values(
            claimed.instance_id,
            params=claimed.params,
            outputs=self._outputs,
            input=before if given is None else given,
            output=None if self._is_forth else self._forth[task_id].reachable(gave),
            item=None if item == WHOLE else self._item(task_id, item),
            index=None if item == WHOLE else item,
        )
