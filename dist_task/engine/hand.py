"""One transaction in a worker's hands: its attempts in flight, and what it has to write next.

At most one write of a transaction is under way; what ends meanwhile gathers for the next. An attempt is made only after
the write that holds its start mark has come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeGuard

from dist_task import failpoints
from dist_task.errors import ExecutionError, InvalidRequest
from dist_task.executors.base import Executor, Result, TaskCall, executors
from dist_task.models import LogEvent
from dist_task.states import RunStatus
from flows.definition import FlowDefinition, TaskSpec
from flows.fields import task_parameters

from . import outcome as outcomes
from . import plan
from .slots import Slots
from .store.batch import Begun, Ended, Write, Written
from .store.claims import DUE_ALREADY_SECONDS, Claimed, StoredRun

logger = logging.getLogger(__name__)

DEADLINE_MARGIN_SECONDS = 2.0
"""An executor keeps its own deadline; this much later the worker gives up on it."""


class Desk(Protocol):
    """What a hand needs of its worker."""

    slots: Slots

    @property
    def accepting(self) -> bool:
        """False once the worker is to end: nothing new starts."""

    def submit(self, write: Write) -> asyncio.Future[Written]: ...

    def reload(self, hand: Hand) -> None:
        """Reads the transaction again and calls `reloaded`, or `drop` when it is not this worker's any more."""

    def let_go(self, hand: Hand) -> None:
        """The hand is empty: the transaction was finished, released, or lost."""

    def park(self, hand: Hand, *, error: Exception) -> None:
        """The engine itself failed over this transaction."""


class Hand:
    def __init__(self, claimed: Claimed, *, definition: FlowDefinition, runs: list[StoredRun], desk: Desk) -> None:
        self.transaction_id = claimed.transaction_id
        self._touched = False
        self._desk = desk
        self._definition = definition
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._ended: list[Ended] = []
        self._writing = False
        self._dropped = False
        self._timer: asyncio.TimerHandle | None = None
        self._claimed = claimed
        self._inputs: dict[str, Any] = {}
        self._progress = plan.Progress.of(definition, runs=())
        self.resume(claimed, runs=runs)

    def touch(self) -> None:
        """A verb from outside changed the transaction: read it again as soon as nothing is being written."""
        if self._writing:
            self._touched = True
        else:
            self._reload()

    def reloaded(self, claimed: Claimed, *, runs: list[StoredRun]) -> None:
        self._writing = False
        if not self._dropped:
            self.resume(claimed, runs=runs)
            self.advance()

    def resume(self, claimed: Claimed, *, runs: list[StoredRun]) -> None:
        """Takes the stored state as the truth. A run that is running without a call of ours was left by the dead."""
        self._claimed = claimed
        self._touched = False
        self._inputs = {run.task_id: run.input for run in runs if run.input is not None}
        self._progress = plan.Progress.of(
            self._definition, runs=[_run_state(run) for run in runs], cancelling=claimed.cancelling
        )
        unwritten = {ended.task_id: ended for ended in self._ended}
        for run in runs:
            if run.task_id in unwritten:
                self._see(unwritten[run.task_id])
            elif run.status == RunStatus.RUNNING and run.task_id not in self._calls:
                self._end(self._progress.runs[run.task_id], result=outcomes.WorkerLost())

    def advance(self) -> None:
        """Writes what there is to write; called whenever something has changed."""
        if self._writing or self._dropped:
            return
        try:
            write = self._next_write()
        except Exception as error:
            logger.exception("The engine failed over transaction %s", self._claimed.instance_id)
            self._desk.park(self, error=error)
            return
        if write is not None:
            self._writing = True
            self._desk.submit(write).add_done_callback(partial(self._on_written, write))

    def drop(self) -> None:
        """The transaction is not ours any more: calls are given up, nothing is written."""
        self._dropped = True
        self._cancel_timer()
        for call in self._calls.values():
            call.cancel()

    def _next_write(self) -> Write | None:
        now = time.monotonic()
        write = Write(self.transaction_id, revision=self._claimed.revision, ended=self._ended)
        moves = self._progress.moves(now=now)
        if self._desk.accepting:
            write.begun = [self._begin(move) for move in moves if self._may_start(move)]
        elif not self._calls:
            write.release, write.wake_in_seconds = True, 0.0
        for move in moves:
            if isinstance(move, plan.Finish) and not (self._ended and self._progress.cancelling):
                write.release, write.finish = True, move.status
            elif isinstance(move, plan.Wait):
                write.release, write.wake_in_seconds = True, max(move.until - now, 0.0)
        self._ended = []
        self._set_timer(now)
        return write if write.ended or write.begun or write.release else None

    def _may_start(self, move: plan.Move) -> TypeGuard[plan.Start]:
        """A run whose last attempt is only now being written as ended starts again with the next write."""
        if not isinstance(move, plan.Start) or any(ended.task_id == move.task_id for ended in self._ended):
            return False
        return self._take_slot(move)

    def _on_written(self, write: Write, future: asyncio.Future[Written]) -> None:
        self._writing = False
        if self._dropped or future.cancelled():
            self._give_back(write)
            return
        if error := future.exception():
            self._give_back(write)
            self._on_refused(write, error=error)
            return
        written = future.result()
        if written.fenced:
            self._give_back(write)
            self.drop()
            self._desk.let_go(self)
        elif written.stale:
            self._give_back(write)
            self._reload()
        elif write.release and self._touched:
            self._reload()
        elif write.release:
            self._cancel_timer()
            self._desk.let_go(self)
        else:
            self._go_on(write)

    def _go_on(self, write: Write) -> None:
        for begun in write.begun:
            self._progress.see(_running(begun))
            self._calls[begun.task_id] = asyncio.create_task(self._attempt(begun))
        if self._touched:
            self._reload()
        else:
            self.advance()

    def _reload(self) -> None:
        self._writing = True
        self._desk.reload(self)

    def _on_refused(self, write: Write, *, error: BaseException) -> None:
        """The database does not take what an attempt gave: the attempt failed, and is not repeated for that."""
        if not write.ended or any(ended.error_code == "UNSTORABLE" for ended in write.ended):
            self._desk.park(self, error=RuntimeError(str(error)))
            return
        self._ended = [_unstorable(ended, error=error) for ended in write.ended] + self._ended
        self._reload()

    def _begin(self, move: plan.Start) -> Begun:
        return Begun(move.task_id, attempt=move.attempt, budget=move.budget, input=self._input(move.task_id))

    def _input(self, task_id: str) -> Any:
        """What the run has had since its first attempt, else what the params give; None where they are wrong."""
        if task_id not in self._inputs:
            try:
                params = self._claimed.params
                self._inputs[task_id] = task_parameters(self._definition.tasks[task_id], params=params)
            except InvalidRequest:
                return None
        return self._inputs[task_id]

    async def _attempt(self, begun: Begun) -> None:
        spec = self._definition.tasks[begun.task_id]
        result: Result | ExecutionError
        try:
            call = self._call(begun, spec=spec)
            async with asyncio.timeout(spec.timeout_seconds + DEADLINE_MARGIN_SECONDS):
                failpoints.hit("call.before", begun.task_id)
                result = await _executor(spec).execute(call)
                failpoints.hit("call.after", begun.task_id)
        except ExecutionError as error:
            result = error
        except InvalidRequest as error:
            result = ExecutionError(str(error), code="INVALID_INPUT", permanent=True)
        except TimeoutError:
            result = ExecutionError(f"no answer within {spec.timeout_seconds:g} s", code="TIMEOUT", unknown=True)
        except Exception as error:
            logger.exception("The executor %s failed", spec.type)
            message = f"{type(error).__name__}: {error}"
            result = ExecutionError(message, code="EXECUTOR_ERROR", unknown=True)
        finally:
            self._calls.pop(begun.task_id, None)
            self._free_slot(begun.task_id)
        self._end(_running(begun), result=result)
        self.advance()

    def _call(self, begun: Begun, *, spec: TaskSpec) -> TaskCall:
        given = begun.input
        if given is None:
            given = task_parameters(spec, params=self._claimed.params)
        return TaskCall(
            instance_id=self._claimed.instance_id,
            task_id=begun.task_id,
            op=begun.op,
            item=begun.item,
            attempt=begun.attempt,
            config=spec.config,
            input=given,
            timeout_seconds=spec.timeout_seconds,
        )

    def _end(self, run: plan.RunState, *, result: Result | ExecutionError | outcomes.WorkerLost) -> None:
        """Decides what the result means; the row of it waits for the next write."""
        spec = self._definition.tasks[run.task_id]
        within_budget = run.attempt - (run.budget - spec.retry.tries)
        outcome = outcomes.decide(spec.retry, attempt=within_budget, result=result)
        ended = _ended(run, spec=spec, outcome=outcome, result=result, flow_name=self._definition.name)
        self._ended.append(ended)
        self._see(ended)

    def _see(self, ended: Ended) -> None:
        due_at = time.monotonic() + (ended.delay_seconds or 0.0)
        self._progress.see(replace(self._progress.runs[ended.task_id], status=ended.status, due_at=due_at))

    def _take_slot(self, move: plan.Start) -> bool:
        target = self._target(move.task_id)
        return self._desk.slots.take(target=target, transaction_id=self.transaction_id, waiting=self)

    def _free_slot(self, task_id: str) -> None:
        next_one = self._desk.slots.give_back(target=self._target(task_id), transaction_id=self.transaction_id)
        if next_one is not None:
            asyncio.get_running_loop().call_soon(next_one.advance)

    def _give_back(self, write: Write) -> None:
        for begun in write.begun:
            self._free_slot(begun.task_id)

    def _target(self, task_id: str) -> str:
        spec = self._definition.tasks[task_id]
        executor = executors().get(spec.type)
        return executor.target(spec.config) if executor else ""

    def _set_timer(self, now: float) -> None:
        """A retry of one branch falls due while another is in flight."""
        self._cancel_timer()
        due_at = self._progress.next_due_at
        if due_at is not None and due_at > now:
            self._timer = asyncio.get_running_loop().call_later(due_at - now, self.advance)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _run_state(run: StoredRun) -> plan.RunState:
    due_at = time.monotonic() + run.due_in_seconds if run.due_in_seconds > DUE_ALREADY_SECONDS else 0.0
    return plan.RunState(run.task_id, status=run.status, attempt=run.attempt, budget=run.budget, due_at=due_at)


def _running(begun: Begun) -> plan.RunState:
    return plan.RunState(begun.task_id, status=RunStatus.RUNNING, attempt=begun.attempt, budget=begun.budget)


def _executor(spec: TaskSpec) -> Executor:
    found: Mapping[str, Executor] = executors()
    if spec.type not in found:
        raise ExecutionError(f"no executor for tasks of type {spec.type}", code="NO_EXECUTOR", permanent=True)
    return found[spec.type]


def _ended(
    run: plan.RunState,
    *,
    spec: TaskSpec,
    outcome: outcomes.Outcome,
    result: Result | ExecutionError | outcomes.WorkerLost,
    flow_name: str,
) -> Ended:
    """The row of an ended attempt."""
    seen = None if isinstance(result, outcomes.WorkerLost) else result
    request, response = (seen.request, seen.response) if seen else (None, None)
    common = partial(Ended, run.task_id, attempt=run.attempt, request=request, response=response)
    if isinstance(outcome, outcomes.Succeeded):
        return common(status=RunStatus.SUCCESS, event=LogEvent.SUCCEEDED, output=outcome.output)
    failure = outcome.failure
    delay = outcome.delay.total_seconds() if isinstance(outcome, outcomes.RetryAfter) else None
    return common(
        status=RunStatus.FAILED if delay is None else RunStatus.PENDING,
        event=_event(result, failure=failure),
        delay_seconds=delay,
        error_code=failure.code,
        error_message=failure.message,
        outcome=failure.outcome,
        fingerprint=outcomes.fingerprint(flow_name=flow_name, task_id=run.task_id, failure=failure),
        task_name=spec.name,
        maybe_executed=failure.maybe_executed,
    )


def _event(result: Result | ExecutionError | outcomes.WorkerLost, *, failure: outcomes.Failure) -> LogEvent:
    if isinstance(result, outcomes.WorkerLost):
        return LogEvent.WORKER_LOST
    return LogEvent.UNKNOWN if failure.maybe_executed else LogEvent.FAILED


def _unstorable(ended: Ended, *, error: BaseException) -> Ended:
    """The attempt was made, but what it gave cannot be kept."""
    return Ended(
        ended.task_id,
        attempt=ended.attempt,
        status=RunStatus.FAILED,
        event=LogEvent.UNKNOWN,
        op=ended.op,
        item=ended.item,
        error_code="UNSTORABLE",
        error_message=f"The result of this attempt could not be stored: {error}"[:1000],
        outcome=outcomes.UNKNOWN,
        fingerprint=ended.fingerprint or "unstorable",
        task_name=ended.task_name or ended.task_id,
        maybe_executed=True,
    )
