"""Where a transaction stands, forwards or backwards: built from what is stored, kept up to date by its hand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from dist_task.executors.base import TaskCall
from dist_task.states import WHOLE, CompensationStatus, Op, RunKey, RunStatus, WaitsFor
from flows.expressions import FAILED, TOO_LONG

from . import compensate, plan
from . import outcome as outcomes
from .fan import Fan
from .inputs import Inputs
from .loaded import LoadedFlow, Step
from .moves import FOREVER, RunState, Start
from .store.batch import Begun
from .store.claims import Claimed, StoredRun

SUSPICIOUS_LOSSES = 2
LEAST_SECONDS = 0.001
EXPRESSION_CODES = frozenset({FAILED, TOO_LONG})

Items = Mapping[str, Sequence[int]]  # by task, those that there are


@dataclass(slots=True)
class Direction:
    """The forward work of a transaction, or its undoing: the tasks, how far they are, and what they are given."""

    op: str
    steps: Mapping[str, Step]
    progress: plan.Progress
    inputs: Inputs
    ends_at: float = FOREVER  # on the monotonic clock: the flow's timeout
    runs: list[StoredRun] = field(default_factory=list)  # as they were read
    suspects: set[RunKey] = field(default_factory=set)  # whose last attempt lost its worker
    unjudged: set[str] = field(default_factory=set)  # tasks whose condition had no result
    answers: dict[RunKey, dict[str, Any]] = field(default_factory=dict)  # what came from outside for those that wait
    deadlines: dict[RunKey, float] = field(default_factory=dict)  # on the monotonic clock, of what has a total time
    ongoing_since: dict[RunKey, float] = field(default_factory=dict)  # whose service says that it is at it

    @classmethod
    def of(cls, claimed: Claimed, *, flow: LoadedFlow, runs: list[StoredRun]) -> Self:
        if claimed.fresh:
            progress = plan.Progress.of(flow.definition, runs=(), cancelling=claimed.cancelling)
            inputs = Inputs(claimed, op=Op.ACTION, forth=flow.steps, steps=flow.steps, runs=())
            return cls(Op.ACTION, flow.steps, progress, inputs, ends_at=_ends_at(claimed, flow=flow))
        is_undoing = claimed.compensation == CompensationStatus.RUNNING
        op = Op.COMPENSATE if is_undoing else Op.ACTION
        steps = flow.undo_steps if is_undoing else flow.steps
        own = [run for run in runs if run.op == op]
        inputs = Inputs(claimed, op=op, forth=flow.steps, steps=steps, runs=own)
        progress, items = _back(flow, runs=runs) if is_undoing else _forth(flow, claimed=claimed, inputs=inputs)
        progress.paused = claimed.paused
        way = cls(
            op=op,
            steps=steps,
            progress=progress,
            inputs=inputs,
            ends_at=FOREVER if is_undoing else _ends_at(claimed, flow=flow),
            runs=own,
            suspects={run.key for run in own if run.error_code == outcomes.WORKER_LOST_CODE},
            unjudged={run.task_id for run in own if run.error_code in EXPRESSION_CODES},
            answers={run.key: run.answer for run in own if run.answer is not None},
            deadlines={run.key: _deadline(run) for run in own if run.seconds_left is not None},
            ongoing_since={run.key: time.monotonic() - run.begun_ago_seconds for run in own if run.is_ongoing},
        )
        way._see_all(items)
        return way

    def _see_all(self, items: Items) -> None:
        """The stored runs, those of items into the fans of their tasks."""
        for task_id, indexes in items.items():
            self.fan_out(task_id, items=indexes)
        for run in self.runs:
            self.progress.see(self._state(run))

    def fan_out(self, task_id: str, *, items: Sequence[int]) -> None:
        """A task that is run for each item of a list has begun."""
        if task_id not in self.progress.fans:
            step = self.steps[task_id]
            self.progress.fan_out(Fan(task_id, items=items, tries=step.spec.retry.tries, most=step.most))

    def is_plain(self, task_id: str) -> bool:
        """Whether an attempt of it may begin without a look at conditions, times, items, or what others gave."""
        return self.op == Op.ACTION and self.ends_at == FOREVER and self.steps[task_id].is_plain

    def is_fan(self, key: RunKey) -> bool:
        """Whether the run is that of a task which waits for its items, and calls nothing itself."""
        task_id, item = key
        return item == WHOLE and self.steps[task_id].is_fan

    def is_wanted(self, move: Start) -> bool:
        """By its condition, which is judged before anything was done; what may have done its work is not passed over.
        Raises ExpressionFailed where it has no result."""
        if self.steps[move.task_id].spec.when is None or move.item != WHOLE:
            return True
        run = self.progress.runs.get(move.task_id)
        is_asked_again = run is not None and run.status == RunStatus.WAITING
        was_lost = move.attempt > 1 and move.key in self.suspects  # it may have done its work, or had no result
        if is_asked_again or not (move.attempt == 1 or was_lost or move.task_id in self.unjudged):
            return True
        return self.inputs.is_wanted(move.task_id) or was_lost

    def given(self, key: RunKey) -> Any:
        """The input of an attempt; with that of a task with items these are known. Raises ExpressionFailed."""
        given = self.inputs.of(key)
        if self.is_fan(key) and self.op == Op.ACTION:
            self.fan_out(key[0], items=range(self.inputs.count(key[0])))
        return given

    def task_call(self, begun: Begun, *, instance_id: str) -> TaskCall:
        """Raises InvalidRequest where the transaction's params do not fit."""
        spec, key = self.steps[begun.task_id].spec, (begun.task_id, begun.item)
        seconds = spec.timeout_seconds
        if self.ends_at != FOREVER or self.deadlines:
            seconds = min(seconds, max(self.seconds_left(key), LEAST_SECONDS))
        given = self.inputs.made(key) if begun.input is None else begun.input
        return TaskCall(
            instance_id=instance_id,
            task_id=begun.task_id,
            op=begun.op,
            item=begun.item,
            attempt=begun.attempt,
            config=self.inputs.config(key, given=given),
            input=given,
            timeout_seconds=seconds,
            secret_places=spec.secret_places,
        )

    def is_suspect(self, begun: Begun) -> bool:
        """Its last attempt may have killed a worker: this one is made apart from all others.

        Those of trusted executors are above suspicion until two of them running have lost their worker.
        """
        if begun.key not in self.suspects:
            return False
        return not self.steps[begun.task_id].is_trusted or begun.attempt > SUSPICIOUS_LOSSES

    def total_seconds(self, key: RunKey) -> float | None:
        """Of a run whose total time begins now."""
        return None if key in self.deadlines or self.is_fan(key) else self.steps[key[0]].spec.total_seconds

    def seconds_left(self, key: RunKey) -> float:
        """Of the run's total time and of the flow's; may be below 0."""
        if self.ends_at == FOREVER and not self.deadlines:
            return FOREVER
        return self.deadline_of(key) - time.monotonic()

    def deadline_of(self, key: RunKey) -> float:
        return min(self.deadlines[key], self.ends_at) if key in self.deadlines else self.ends_at

    @property
    def is_out_of_time(self) -> bool:
        return time.monotonic() >= self.ends_at

    def ongoing_seconds(self, key: RunKey) -> float:
        since = self.ongoing_since.get(key) if self.ongoing_since else None
        return 0.0 if since is None else time.monotonic() - since

    def saw(self, key: RunKey, *, waits_for: str) -> None:
        """An attempt went on, or ended: from the first time on that its service says so, it is at it."""
        if waits_for == WaitsFor.SERVICE:
            self.ongoing_since.setdefault(key, time.monotonic())
        else:
            self.ongoing_since.pop(key, None)

    def tries(self, task_id: str) -> int:
        return self.steps[task_id].spec.retry.tries

    def _state(self, run: StoredRun) -> RunState:
        due_at = time.monotonic() + run.due_in_seconds if run.due_in_seconds > 0 else 0.0
        if run.status == RunStatus.WAITING and run.is_never_due:
            due_at = FOREVER
        return RunState(
            run.task_id,
            status=run.status,
            attempt=run.attempt,
            budget=run.budget,
            due_at=due_at,
            waits_for=run.waits_for,
            deadline_at=self.deadline_of(run.key),
            item=run.item,
        )


def _forth(flow: LoadedFlow, *, claimed: Claimed, inputs: Inputs) -> tuple[plan.Progress, Items]:
    """Its plan, before any run is seen, and the items of the tasks that have begun."""
    progress = plan.Progress.of(flow.definition, runs=(), cancelling=claimed.cancelling)
    begun = (task_id for task_id in flow.definition.fans if inputs.has_begun(task_id))
    return progress, {task_id: range(inputs.count(task_id)) for task_id in begun}


def _back(flow: LoadedFlow, *, runs: Sequence[StoredRun]) -> tuple[plan.Progress, Items]:
    """The same of the undoing: of what was done forwards."""
    done = [_done(run) for run in runs if run.op == Op.ACTION]
    undo = compensate.to_undo(flow.definition, done=done)
    progress = compensate.progress(flow.backwards, undo=undo, runs=())
    return progress, {task_id: each for task_id, each in compensate.items_to_undo(done).items() if task_id in undo}


def _ends_at(claimed: Claimed, *, flow: LoadedFlow) -> float:
    seconds = flow.definition.timeout_seconds
    return FOREVER if seconds is None else time.monotonic() + seconds - claimed.running_seconds


def _done(run: StoredRun) -> compensate.Done:
    return compensate.Done(run.task_id, run.status, run.maybe_executed, item=run.item)


def _deadline(run: StoredRun) -> float:
    return FOREVER if run.seconds_left is None else time.monotonic() + run.seconds_left
