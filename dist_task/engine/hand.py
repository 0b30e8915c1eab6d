"""One transaction in a worker's hands: its attempts in flight, and what it has to write next.

At most one write of a transaction is under way; what ends meanwhile gathers for the next. An attempt is made only after
the write that holds its start mark has come back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dist_task.errors import ExecutionError, InvalidRequest
from dist_task.executors.base import Ongoing, Result
from dist_task.states import FINAL_RUN, SATISFIED_RUN, WHOLE, Op, RunKey, RunStatus, TransactionStatus, WaitsFor
from flows.expressions import ExpressionFailed

from . import outcome as outcomes
from .attempt import attempt
from .desk import Attempt, Desk
from .direction import Direction
from .ending import (
    UNSTORABLE,
    Ending,
    InFlight,
    ItemsFailed,
    not_yet,
    of_items,
    out_of_time,
    succeeded,
    unstorable,
    waited,
)
from .fan import MOST_OFFERED
from .loaded import LoadedFlow
from .moves import FOREVER, Compensate, Compensated, Elapse, Finish, Move, RunState, Start, Wait
from .store.batch import Begun, Ended, Write, Written
from .store.claims import LEAD_SECONDS, Claimed, StoredRun

logger = logging.getLogger(__name__)

TURN_SECONDS = 0.05
"""For how long conditions are judged in one turn: the worker has other transactions in hand."""
RUNNING = RunStatus.RUNNING


class Hand:
    def __init__(self, claimed: Claimed, *, flow: LoadedFlow, runs: list[StoredRun], desk: Desk) -> None:
        self.transaction_id = claimed.transaction_id
        self._desk = desk
        self._flow = flow
        self._calls: dict[RunKey, tuple[Begun, asyncio.Task[None]]] = {}
        self._unmade: list[Begun] = []  # their start marks are written, their calls wait for a slot
        self._ended: list[Ended] = []
        self._writing = False
        self._touched = False
        self._dropped = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._fetching = False
        self._faults: dict[RunKey, ExecutionError] = {}  # of attempts that are not to be made
        self._due: dict[RunKey, float] = {}  # when the call of a retry that was begun may be made
        self.resume(claimed, runs=runs)

    @property
    def owes_parent(self) -> bool:
        """It has ended, and the transaction that started it is to be told how."""
        return self._has_ended and self._claimed.owes_parent

    # What the worker tells it.

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
        """Takes the stored state as the truth."""
        self._claimed = claimed
        self._touched = False
        self._unmade = []
        self._way = way = Direction.of(claimed, flow=self._flow, runs=runs)
        unwritten = {ended.key: ended for ended in self._ended if ended.op == way.op}
        for run in way.runs:
            key = run.key
            if key in unwritten:
                self._see(unwritten[key], key=key)
            elif run.status == RUNNING and key not in self._calls:
                self._resume_running(run)
        if claimed.opened:
            self._open()

    def advance(self) -> None:
        """Makes the calls that may be made and writes what there is to write; called whenever something changed."""
        if self._unmade and not self._dropped:
            self._make_waiting_calls()
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
            self._desk.submit(write, hand=self)

    def written(self, write: Write, written: Written) -> None:
        self._writing = False
        if self._dropped:
            self._give_back(write)
        elif written.fenced:
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
            self._has_ended = bool(write.finish or write.compensated)
            self._desk.let_go(self)
        elif write.compensate:
            self._reload()
        else:
            self._go_on(write)

    def refused(self, write: Write, *, error: BaseException) -> None:
        """The database does not take what an attempt gave: the attempt failed, and is not repeated for that."""
        self._writing = False
        self._give_back(write)
        if self._dropped:
            return
        if not write.ended or any(ended.error_code == UNSTORABLE for ended in write.ended):
            self._desk.park(self, error=error)
            return
        self._ended = [unstorable(ended, error=error) for ended in write.ended] + self._ended
        self._reload()

    def drop(self) -> None:
        """The transaction is not ours any more: calls are given up, nothing is written."""
        self._dropped = True
        self._cancel_timer()
        self._desk.give_up([self._named(begun) for begun, _call in self._calls.values()])
        for _begun, call in self._calls.values():
            call.cancel()

    # Reading what is stored.

    def _resume_running(self, run: StoredRun) -> None:
        """A run stands as running without a call of ours: it was left by the dead, or begun by us without our knowing.

        The latter when the answer to a claim or a write got lost: then the call was never made, and is made now.
        """
        begun = Begun(run.task_id, run.attempt, run.budget, run.input, op=run.op, item=run.item)
        is_ours = run.begun_by == self._desk.worker_id and not self._desk.was_given_up(self._named(begun))
        if is_ours or self._is_harmless(run):
            self._unmade.append(begun)
        elif (state := self._way.progress.run_of(run.key)) is not None:
            self._end(state, key=run.key, result=outcomes.WorkerLost())

    def _is_harmless(self, run: StoredRun) -> bool:
        """An attempt that calls nobody may be made again as if it had not begun; without an input it was not to be
        made (see `_begin`), and why is not known any more."""
        calls_nobody = self._way.is_fan(run.key) or self._way.steps[run.task_id].is_harmless
        return calls_nobody and run.input is not None

    def _open(self) -> None:
        """The claim has written the start marks of the flow's first tasks."""
        for task_id in self._flow.definition.roots:
            given = self._way.inputs.of((task_id, WHOLE))
            begun = Begun(task_id, attempt=1, budget=self._way.tries(task_id), input=given)
            self._way.progress.see(_running(begun))
            self._unmade.append(begun)

    def fetched(self, done: Mapping[RunKey, tuple[Any, Any]]) -> None:
        """What was asked for by `fetch_done`."""
        self._fetching = False
        self._way.inputs.learn(done)
        self.advance()

    def _reload(self) -> None:
        self._writing = True
        self._desk.reload(self)

    # Writing.

    def _next_write(self) -> Write | None:
        if self._calls and not self._ended and self._timer is None and self._way.progress.is_only_running:
            return None  # as after most writes
        now, revision = time.monotonic(), self._claimed.revision
        if self._claimed.has_ended and self._way.op == Op.ACTION:  # woken by somebody who did not know
            return Write(self.transaction_id, revision, release=True)
        moves, accepting = self._moves(now), self._desk.accepting
        self._set_timer(now)
        if not moves and not self._ended and accepting:
            return None
        write = Write(self.transaction_id, revision, self._ended)
        if not accepting and not self._calls and not self._unmade:
            write.release, write.wake_in_seconds = True, 0.0
        if moves and not isinstance(moves[0], Start):
            self._put_end(write, move=moves[0], now=now)
        elif moves and accepting:
            self._begin_all(write, starts=moves)
        self._ended = []
        return None if write.is_empty else write

    def _moves(self, now: float) -> list[Move]:
        """After the waits that are over have ended: starts alone, or the one move with which a turn ends."""
        progress, soon = self._way.progress, now + LEAD_SECONDS
        if self._way.ends_at <= now:
            progress.cut_fans()
        moves = progress.moves(now=soon, most=MOST_OFFERED)
        while elapsed := [move for move in moves if isinstance(move, Elapse)] if progress.waiting else ():
            for move in elapsed:
                self._elapse((move.task_id, move.item))
            moves = progress.moves(now=soon, most=MOST_OFFERED)
        return moves

    def _elapse(self, key: RunKey) -> None:
        progress = self._way.progress
        run = progress.run_of(key)
        assert run is not None  # noqa: S101  # it waits
        answer = self._way.answers.pop(key, None)
        if run.waits_for == WaitsFor.ITEMS:
            self._end(run, key=key, result=of_items(progress.fans[run.task_id]))
        else:
            result = waited(run.waits_for, answer=answer, is_cancelled=progress.cancelling)
            self._end(run, key=key, result=result, took_answer=answer is not None)

    def _put_end(self, write: Write, *, move: Move, now: float) -> None:
        if isinstance(move, Finish) and not (self._ended and self._way.progress.cancelling):
            write.release, write.finish = True, move.status
        elif isinstance(move, Compensate):
            write.compensate = True
        elif isinstance(move, Compensated):
            write.release, write.compensated = True, move.outcome
            write.finish = None if self._claimed.has_ended else TransactionStatus.FAILED
        elif isinstance(move, Wait):
            write.release = True
            write.wake_in_seconds = None if move.until == FOREVER else max(move.until - now, 0.0)

    def _begin_all(self, write: Write, *, starts: list[Move]) -> None:
        """What may start now, or is skipped; what that depends on is asked for where it is not here.

        For as many only as there are slots: the input and output of thousands need not be here at once.
        """
        way = self._way
        wanted: set[RunKey] = set()
        reserved: list[RunKey] = []
        ends_at = time.monotonic() + TURN_SECONDS
        for start, key in self._with_slots(starts):
            if way.is_plain(start.task_id):
                write.begun.append(self._begun(start, given=way.inputs.of(key)))
                continue
            if lacking := way.inputs.lacking(key):
                reserved.append(key)
                if not any(ended.task_id == task_id for ended in self._ended for task_id, _item in lacking):
                    wanted |= lacking  # else it is read after it has been written
            elif self._is_wanted(start):
                write.begun.append(self._begin(start))
            else:
                self._free_slot(key)
                write.skipped.append(start.task_id)
            if (write.begun or write.skipped) and time.monotonic() > ends_at:
                break  # there is something to write, and after it comes the rest
        for key in reserved:
            self._free_slot(key)
        if wanted and not self._fetching:
            self._fetching = True
            self._desk.fetch_done(self, wanted)

    def _with_slots(self, starts: list[Move]) -> Iterator[tuple[Start, RunKey]]:
        """Those that get a slot, as they are asked for; of a target that is full no other is asked for in this turn."""
        busy = {(row.task_id, row.item) for row in self._ended}  # what ends with this write starts with the next
        full: set[str] = set()
        for start in starts:
            if not isinstance(start, Start) or (key := (start.task_id, start.item)) in busy:
                continue
            if (target := self._target(key)) not in full and self._take_slot(target):
                yield start, key
            elif self._desk.slots.is_full(self.transaction_id):
                return
            else:
                full.add(target)
                self._way.progress.postpone(start.task_id)

    def _is_wanted(self, start: Start) -> bool:
        """A condition without a result fails the attempt, which is made all the same: so it is counted, logged and
        raised like every other."""
        self._faults.pop(start.key, None)
        try:
            return self._way.is_wanted(start)
        except ExpressionFailed as error:
            self._faults[start.key] = _fault(error)
            return True

    def _begin(self, start: Start) -> Begun:
        key, given = start.key, None
        if self._way.is_out_of_time:
            self._faults[key] = out_of_time()
        elif key not in self._faults:
            given = self._given(key)
        return self._begun(start, given=given, total_seconds=self._way.total_seconds(key))

    def _begun(self, start: Start, *, given: Any, total_seconds: float | None = None) -> Begun:
        task_id, attempt, budget, item = start
        if (run := self._way.progress.run_of((task_id, item))) is not None:
            self._due[(task_id, item)] = run.due_at
        return Begun(task_id, attempt, budget, given, self._way.op, item, total_seconds)

    def _given(self, key: RunKey) -> Any:
        """The input of an attempt; None for one that is not to be made, where a worker dies before it said so."""
        try:
            return self._way.given(key)
        except ExpressionFailed as error:
            self._faults[key] = _fault(error)
            return None

    def _go_on(self, write: Write) -> None:
        for begun in write.begun:
            if begun.total_seconds is not None:
                self._way.deadlines[begun.key] = time.monotonic() + begun.total_seconds
            self._way.progress.see(_running(begun))
            self._make_call(begun)
        for task_id in write.skipped:
            self._way.inputs.saw(task_id, output=None)
            self._way.progress.see(RunState(task_id, status=RunStatus.SKIPPED))
        if self._touched:
            self._reload()
        else:
            self.advance()

    # Calling.

    def _make_waiting_calls(self) -> None:
        waiting, self._unmade = self._unmade, []
        for begun in waiting:
            if self._take_slot(self._target(begun.key)):
                self._make_call(begun)
            else:
                self._unmade.append(begun)

    def _make_call(self, begun: Begun) -> None:
        key = begun.key
        task = asyncio.get_running_loop().create_task(self._call(begun, key))
        self._calls[key] = (begun, task)

    async def _call(self, begun: Begun, key: RunKey) -> None:
        step = self._way.steps[begun.task_id]
        try:
            if key in self._due:
                await _until(self._due.pop(key))
            apart = self._desk.apart if self._way.suspects and self._way.is_suspect(begun) else None
            if key in self._faults:
                raise self._faults.pop(key)
            if step.is_fan and begun.item == WHOLE:
                result: Ending = Ongoing(WaitsFor.ITEMS)
            else:
                call = self._way.task_call(begun, instance_id=self._claimed.instance_id)
                result = await attempt(step, call, apart=apart)
                if isinstance(result, Ongoing) and result.waits_for == WaitsFor.CHILD:
                    result = await self._desk.ask_child(self, call)
        except ExecutionError as error:
            result = error
        except InvalidRequest as error:
            result = ExecutionError(str(error), code="INVALID_INPUT", permanent=True)
        except Exception as error:
            logger.exception("The call of task %s could not be made", begun.task_id)
            result = ExecutionError(f"{type(error).__name__}: {error}", code="EXECUTOR_ERROR", unknown=True)
        finally:
            self._calls.pop(key, None)
            self._free_slot(key)
        try:
            self._end(begun, key=key, result=result)
        except Exception as error:
            logger.exception("The engine failed over what task %s gave", begun.task_id)
            self._desk.park(self, error=error)
        else:
            self.advance()

    def _end(self, run: InFlight, *, key: RunKey, result: Ending, took_answer: bool = False) -> None:
        """Decides what the result means; the row of it waits for the next write."""
        way = self._way
        if isinstance(result, outcomes.WorkerLost):
            way.suspects.add(key)
        elif way.suspects:
            way.suspects.discard(key)
        if isinstance(result, Result):
            row = succeeded(run, op=way.op, result=result)
        else:
            row = not_yet(
                run,
                op=way.op,
                step=way.steps[run.task_id],
                result=result,
                flow_name=self._flow.definition.name,
                seconds_left=way.seconds_left(key),
                ongoing_seconds=way.ongoing_seconds(key),
            )
        if took_answer:
            row = row._replace(took_answer=True)
        elif isinstance(result, ItemsFailed):
            row = row._replace(is_raised=False)
        self._ended.append(row)
        if row.task_id in self._flow.wanted and row.status in SATISFIED_RUN and way.op == Op.ACTION:
            way.inputs.saw(row.task_id, output=row.output)
        if row.status in FINAL_RUN:
            way.inputs.forget(key)
        self._see(row, key=key)

    def _see(self, row: Ended, *, key: RunKey) -> None:
        way = self._way
        run = way.progress.run_of(key)
        if run is None:
            return  # an item of a task that is not under way any more
        if row.waits_for or way.ongoing_since:
            way.saw(key, waits_for=row.waits_for)
        if row.status in FINAL_RUN:
            way.progress.see(RunState(run.task_id, row.status, run.attempt, run.budget, item=run.item))
            return
        is_due_some_time = row.status == RunStatus.PENDING or row.delay_seconds is not None
        due_at = time.monotonic() + (row.delay_seconds or 0.0) if is_due_some_time else FOREVER
        way.progress.see(
            run._replace(status=row.status, due_at=due_at, waits_for=row.waits_for, deadline_at=way.deadline_of(key))
        )

    def _named(self, begun: Begun) -> Attempt:
        return Attempt(self.transaction_id, begun.task_id, op=begun.op, item=begun.item, number=begun.attempt)

    # Slots and time.

    def _take_slot(self, target: str) -> bool:
        return self._desk.slots.take(target=target, transaction_id=self.transaction_id, waiting=self)

    def _target(self, key: RunKey) -> str:
        """A task that waits for its items calls nothing."""
        step = self._way.steps[key[0]]
        return "" if step.is_fan and key[1] == WHOLE else step.target

    def _free_slot(self, key: RunKey) -> None:
        target = self._target(key)
        next_one = self._desk.slots.give_back(target=target, transaction_id=self.transaction_id)
        if next_one is not None:
            asyncio.get_running_loop().call_soon(next_one.advance)

    def _give_back(self, write: Write) -> None:
        for begun in write.begun:
            self._free_slot(begun.key)

    def _set_timer(self, now: float) -> None:
        """A retry of one branch falls due while another is in flight."""
        if self._timer is not None:
            self._cancel_timer()
        due_at = self._way.progress.next_due_at
        if due_at is not None and now + LEAD_SECONDS < due_at < FOREVER:
            self._timer = asyncio.get_running_loop().call_later(due_at - LEAD_SECONDS - now, self.advance)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _until(due_at: float) -> None:
    """Never returns too early, though uvloop rounds to milliseconds."""
    while (left := due_at - time.monotonic()) > 0:
        await asyncio.sleep(left)


def _running(begun: Begun) -> RunState:
    return RunState(begun.task_id, status=RUNNING, attempt=begun.attempt, budget=begun.budget, item=begun.item)


def _fault(error: ExpressionFailed) -> ExecutionError:
    return ExecutionError(str(error), code=error.code, permanent=True)
