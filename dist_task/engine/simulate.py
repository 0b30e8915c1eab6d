"""What a transaction would do if some of its tasks failed, found without running it. Pure.

It asks what a worker asks (`plan`, `compensate`) and gives the answers itself: in each step all that may begin begins,
and has ended before the next one. Real tasks take their own time, so a worker may begin a task while one of an earlier
step still runs; which tasks begin, what each waits for and how it all ends is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, cast

from django.utils.translation import gettext_noop as _

from dist_task.problems import InvalidValue, Meant, Problems, child_path, shown
from dist_task.states import CompensationStatus, Op, RunStatus, TransactionStatus
from flows.definition import FlowDefinition

from .compensate import Done, UndoStep, backwards, steps, to_undo
from .compensate import progress as undoing
from .moves import Compensate, Compensated, Finish, Move, RunState, Start
from .plan import Progress


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is to go otherwise than well: ids of tasks. `fail` and `unknown` mean after all automatic retries."""

    fail: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()  # failed, but may have been executed
    skip: frozenset[str] = frozenset()  # by a condition
    fail_undo: frozenset[str] = frozenset()  # whose compensation fails

    def action(self, task_id: str) -> RunStatus:
        if task_id in self.skip:
            return RunStatus.SKIPPED
        return RunStatus.FAILED if task_id in self.fail or task_id in self.unknown else RunStatus.SUCCESS

    def undo(self, task_id: str) -> RunStatus:
        return RunStatus.FAILED if task_id in self.fail_undo else RunStatus.SUCCESS


SCENARIO_KEYS = tuple(each.name for each in fields(Scenario))


class Ran(NamedTuple):
    """A task that began, or was skipped when it might have. Those of one step (from 1) run side by side."""

    task_id: str
    name: str
    step: int
    status: RunStatus
    maybe_executed: bool
    optional: bool


class Undone(NamedTuple):
    """A task that has done something. `status` is that of its compensation, None where that does not begin."""

    task_id: str
    name: str
    step: int
    is_undone: bool
    maybe_executed: bool
    status: RunStatus | None


class Idle(NamedTuple):
    """A task that never starts."""

    task_id: str
    name: str


class Raised(NamedTuple):
    """An exception that is left for a person."""

    task_id: str
    name: str
    op: Op
    maybe_executed: bool


@dataclass(frozen=True, slots=True)
class Undoing:
    """What compensation does where the flow asks for it (`by_itself`), or would do if a person did."""

    by_itself: bool
    compensation: CompensationStatus
    tasks: tuple[Undone, ...]


@dataclass(frozen=True, slots=True)
class Simulation:
    status: TransactionStatus
    compensation: CompensationStatus
    tasks: tuple[Ran, ...]
    never_started: tuple[Idle, ...]
    exceptions: tuple[Raised, ...]
    undo: Undoing


def read_scenario(
    definition: FlowDefinition,
    *,
    fail: Sequence[str] = (),
    unknown: Sequence[str] = (),
    skip: Sequence[str] = (),
    fail_undo: Sequence[str] = (),
) -> Scenario:
    """Raises InvalidValue, which names every task that is not there, or cannot be what it is said to be."""
    problems = Problems(root="scenario")
    outcomes = {"fail": fail, "unknown": unknown, "skip": skip}
    for key, named in (*outcomes.items(), ("fail_undo", fail_undo)):
        _report_strangers(key, named, ids=definition.tasks, problems=problems)
    _report_contradictions(outcomes, problems=problems)
    for index, task_id in enumerate(fail_undo):
        if task_id in definition.tasks and definition.tasks[task_id].compensate is None:
            problems.add(child_path("fail_undo", index), _("the task %(id)s has no compensate"), id=task_id)
    if len(problems):
        raise InvalidValue(problems.report())
    return Scenario(frozenset(fail), frozenset(unknown), frozenset(skip), frozenset(fail_undo))


def _report_strangers(key: str, named: Sequence[str], *, ids: Collection[str], problems: Problems) -> None:
    for index, task_id in enumerate(named):
        if task_id not in ids:
            message = _("there is no task %(id)s")
            problems.add(child_path(key, index), message, meant=Meant(task_id, ids), id=shown(task_id))


def _report_contradictions(outcomes: dict[str, Sequence[str]], *, problems: Problems) -> None:
    first: dict[str, str] = {}
    for key, named in outcomes.items():
        for index, task_id in enumerate(named):
            if (other := first.setdefault(task_id, key)) != key:
                message = _("%(id)s is named under %(other)s too; a task can end in one way only")
                problems.add(child_path(key, index), message, id=shown(task_id), other=other)


def simulate(definition: FlowDefinition, *, scenario: Scenario) -> Simulation:
    played, end = _play(Progress.of(definition, runs=()), ending=scenario.action)
    by_itself = isinstance(end, Compensate)
    ran = tuple(_ran(each, definition=definition, scenario=scenario) for each in played)
    began = {each.task_id for each in ran}
    undo = _undo(definition, ran=ran, scenario=scenario, by_itself=by_itself)
    return Simulation(
        status=TransactionStatus.FAILED if by_itself else TransactionStatus(cast(Finish, end).status),
        compensation=undo.compensation if by_itself else CompensationStatus.NONE,
        tasks=ran,
        never_started=tuple(Idle(task.id, task.name) for task in definition.tasks.values() if task.id not in began),
        exceptions=tuple(_raised(ran, undo=undo)),
        undo=undo,
    )


class _Played(NamedTuple):
    task_id: str
    step: int
    status: RunStatus


def _play(progress: Progress, *, ending: Callable[[str], RunStatus]) -> tuple[list[_Played], Move]:
    """All that runs, in order, and the move with which the graph ends. Each step ends at least one task for good."""
    played: list[_Played] = []
    step = 1
    while True:
        moves = progress.moves(now=0.0)
        begun = [_Played(move.task_id, step, ending(move.task_id)) for move in moves if isinstance(move, Start)]
        if not begun:
            return played, moves[0]
        for task_id, _step, status in begun:
            progress.see(RunState(task_id, status=status, attempt=1))
        played += begun
        step += 1


def _ran(played: _Played, *, definition: FlowDefinition, scenario: Scenario) -> Ran:
    task = definition.tasks[played.task_id]
    unknown = task.id in scenario.unknown
    return Ran(task.id, task.name, played.step, played.status, maybe_executed=unknown, optional=task.optional)


def _undo(definition: FlowDefinition, *, ran: Iterable[Ran], scenario: Scenario, by_itself: bool) -> Undoing:
    done = [_done(each, has_items=definition.tasks[each.task_id].foreach is not None) for each in ran]
    undo = to_undo(definition, done=done)
    played, end = _play(undoing(backwards(definition), undo=undo, runs=()), ending=scenario.undo)
    statuses = {each.task_id: each.status for each in played}
    tasks = tuple(_undone(step, status=statuses.get(step.task_id)) for step in steps(definition, done=done))
    return Undoing(by_itself, CompensationStatus(cast(Compensated, end).outcome), tasks)


def _done(ran: Ran, *, has_items: bool) -> Done:
    """Of a task with items that failed, others than the one that failed have done something."""
    if not has_items:
        return Done(ran.task_id, ran.status, ran.maybe_executed)
    status = RunStatus.SUCCESS if ran.status == RunStatus.FAILED else ran.status
    return Done(ran.task_id, status, ran.maybe_executed, item=0)


def _undone(step: UndoStep, *, status: RunStatus | None) -> Undone:
    return Undone(step.task_id, step.name, step.step, step.is_undone, step.maybe_executed, status)


def _raised(ran: Iterable[Ran], *, undo: Undoing) -> Iterable[Raised]:
    """What compensation has undone needs nobody; an unknown outcome that nothing undid does."""
    is_over = undo.by_itself and undo.compensation == CompensationStatus.DONE
    undone = {each.task_id for each in undo.tasks if each.is_undone}
    for each in ran:
        is_settled = is_over and (not each.maybe_executed or each.task_id in undone)
        if each.status == RunStatus.FAILED and not is_settled:
            yield Raised(each.task_id, each.name, Op.ACTION, each.maybe_executed)
    for back in undo.tasks:
        if undo.by_itself and back.status == RunStatus.FAILED:
            yield Raised(back.task_id, back.name, Op.COMPENSATE, maybe_executed=False)
