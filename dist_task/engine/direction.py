"""Where a transaction stands, forwards or backwards: built from what is stored, kept up to date by its hand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from dist_task.states import CompensationStatus, Op, RunStatus, WaitsFor
from flows.expressions import FAILED, TOO_LONG

from . import compensate, plan
from . import outcome as outcomes
from .inputs import Inputs
from .loaded import LoadedFlow, Step
from .store.claims import Claimed, StoredRun

EXPRESSION_CODES = frozenset({FAILED, TOO_LONG})


@dataclass(slots=True)
class Direction:
    """The forward work of a transaction, or its undoing: the tasks, how far they are, and what they are given."""

    op: str
    steps: Mapping[str, Step]
    progress: plan.Progress
    inputs: Inputs
    runs: list[StoredRun]  # as they were read
    suspects: set[str]  # tasks whose last attempt lost its worker
    unjudged: set[str]  # tasks whose condition had no result
    answers: dict[str, dict[str, Any]]  # what came from outside for those that wait
    deadlines: dict[str, float]  # on the monotonic clock, of tasks with a total time that have begun
    ongoing_since: dict[str, float]  # on the monotonic clock, of tasks whose service says that it is at it

    @classmethod
    def of(cls, claimed: Claimed, *, flow: LoadedFlow, runs: list[StoredRun]) -> Self:
        if claimed.fresh:
            progress = _forth(flow, claimed=claimed, runs=())
            inputs = Inputs(claimed, op=Op.ACTION, forth=flow.steps, steps=flow.steps, runs=())
            return cls(Op.ACTION, flow.steps, progress, inputs, [], set(), set(), {}, {}, {})
        is_undoing = claimed.compensation == CompensationStatus.RUNNING
        op = Op.COMPENSATE if is_undoing else Op.ACTION
        steps = flow.undo_steps if is_undoing else flow.steps
        own = [run for run in runs if run.op == op]
        return cls(
            op=op,
            steps=steps,
            progress=_back(flow, runs=runs) if is_undoing else _forth(flow, claimed=claimed, runs=own),
            inputs=Inputs(claimed, op=op, forth=flow.steps, steps=steps, runs=own),
            runs=own,
            suspects={run.task_id for run in own if run.error_code == outcomes.WORKER_LOST_CODE},
            unjudged={run.task_id for run in own if run.error_code in EXPRESSION_CODES},
            answers={run.task_id: run.answer for run in own if run.answer is not None},
            deadlines={run.task_id: _deadline(run) for run in own if run.seconds_left is not None},
            ongoing_since={run.task_id: time.monotonic() - run.begun_ago_seconds for run in own if run.is_ongoing},
        )

    def total_seconds(self, task_id: str) -> float | None:
        """Of a task whose total time begins now."""
        return None if task_id in self.deadlines else self.steps[task_id].spec.total_seconds

    def seconds_left(self, task_id: str) -> float:
        deadline = self.deadlines.get(task_id)
        return plan.FOREVER if deadline is None else deadline - time.monotonic()

    def ongoing_seconds(self, task_id: str) -> float:
        since = self.ongoing_since.get(task_id)
        return 0.0 if since is None else time.monotonic() - since

    def saw(self, task_id: str, *, waits_for: str) -> None:
        """An attempt went on, or ended: from the first time on that its service says so, it is at it."""
        if waits_for == WaitsFor.SERVICE:
            self.ongoing_since.setdefault(task_id, time.monotonic())
        elif self.ongoing_since:
            self.ongoing_since.pop(task_id, None)

    def tries(self, task_id: str) -> int:
        return self.steps[task_id].spec.retry.tries


def _forth(flow: LoadedFlow, *, claimed: Claimed, runs: Iterable[StoredRun]) -> plan.Progress:
    return plan.Progress.of(flow.definition, runs=map(_state, runs), cancelling=claimed.cancelling)


def _back(flow: LoadedFlow, *, runs: Iterable[StoredRun]) -> plan.Progress:
    done = [compensate.Done(run.task_id, run.status, run.maybe_executed) for run in runs if run.op == Op.ACTION]
    undo = compensate.to_undo(flow.definition, done=done)
    states = [_state(run) for run in runs if run.op == Op.COMPENSATE]
    return compensate.progress(flow.backwards, undo=undo, runs=states)


def _state(run: StoredRun) -> plan.RunState:
    due_at = time.monotonic() + run.due_in_seconds if run.due_in_seconds > 0 else 0.0
    if run.status == RunStatus.WAITING and run.is_never_due:
        due_at = plan.FOREVER
    return plan.RunState(
        run.task_id,
        status=run.status,
        attempt=run.attempt,
        budget=run.budget,
        due_at=due_at,
        waits_for=run.waits_for,
        deadline_at=_deadline(run),
    )


def _deadline(run: StoredRun) -> float:
    return plan.FOREVER if run.seconds_left is None else time.monotonic() + run.seconds_left
