"""Tell how a transaction of a flow would go, without running it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext as _
from django.utils.translation import override

from dist_task.engine.simulate import SCENARIO_KEYS, Raised, Ran, Simulation, Undoing, Undone, read_scenario, simulate
from dist_task.management.arguments import WRONG_ARGUMENTS, add_language
from dist_task.problems import InvalidValue
from dist_task.states import Op, RunStatus
from flows.definition import FlowDefinition, InvalidDefinition
from flows.files import read_definition
from flows.register import read
from flows.serializers import SimulatedFlow


class Command(BaseCommand):
    help = (
        "Tell which tasks of a flow would run, in which order, how it would end and what would be undone. Runs nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a definition, or the body of POST /api/v1/flows; - is stdin")
        for option, what in (
            ("--fail", "tasks that fail, after all retries that are made by themselves"),
            ("--unknown", "tasks that fail without a definite answer: they may have been executed"),
            ("--skip", "tasks that are skipped"),
            ("--fail-undo", "tasks whose compensation fails"),
        ):
            parser.add_argument(option, nargs="+", action="extend", default=[], metavar="TASK", help=what)
        parser.add_argument("--json", action="store_true", help="print what POST /api/v1/flows/simulate answers")
        add_language(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with override(options["language"]):
            self._simulate(options)

    def _simulate(self, options: dict[str, Any]) -> None:
        definition = self._read(options["file"])
        try:
            scenario = read_scenario(definition, **{key: options[key] for key in SCENARIO_KEYS})
        except InvalidValue as error:
            raise CommandError(str(error), returncode=WRONG_ARGUMENTS) from error
        simulation = simulate(definition, scenario=scenario)
        if options["json"]:
            self.stdout.write(json.dumps(SimulatedFlow(simulation).data, indent=2, ensure_ascii=False))
            return
        for line in lines(simulation):
            self.stdout.write(line)

    def _read(self, source: str) -> FlowDefinition:
        try:
            return read(read_definition(source))
        except InvalidDefinition as error:
            for problem in error.problems:
                self.stderr.write(str(problem))
            raise CommandError(_("The definition cannot be run.")) from error


def lines(simulation: Simulation) -> Iterator[str]:
    """What a person reads."""
    yield from _work(simulation)
    words = {"status": simulation.status.label, "compensation": simulation.compensation.label}
    yield _("The transaction ends: %(status)s, compensation: %(compensation)s.") % words
    yield from _undoing(simulation.undo)
    for raised in simulation.exceptions:
        yield _exception(raised)


def _work(simulation: Simulation) -> Iterator[str]:
    if not simulation.tasks:
        yield _("Nothing runs: the flow has no tasks.")
    yield from _steps((each.step, _ran(each)) for each in simulation.tasks)
    if simulation.never_started:
        yield _("Never started: %(tasks)s") % {"tasks": ", ".join(each.task_id for each in simulation.never_started)}


def _undoing(undo: Undoing) -> Iterator[str]:
    undone = [each for each in undo.tasks if each.is_undone]
    passed_over = [each.task_id for each in undo.tasks if not each.is_undone]
    if not undone:
        yield _("Nothing is undone.") if undo.by_itself else _("If somebody asked for it, nothing would be undone.")
    elif undo.by_itself:
        yield _("What was done is undone:")
    else:
        yield _("If somebody asked for it, this would be undone:")
    yield from _steps((each.step, _undone(each)) for each in undone)
    if passed_over:
        yield _("Passed over, for it has no compensate: %(tasks)s") % {"tasks": ", ".join(passed_over)}
    if undone and not undo.by_itself:
        yield _("Compensation would end: %(compensation)s.") % {"compensation": undo.compensation.label}


def _steps(tasks: Iterable[tuple[int, str]]) -> Iterator[str]:
    """One line for each step."""
    for step, group in groupby(tasks, key=lambda each: each[0]):
        yield "  " + _("step %(step)d: %(tasks)s") % {"step": step, "tasks": ", ".join(text for _step, text in group)}


def _ran(task: Ran) -> str:
    if task.status == RunStatus.SKIPPED:
        return _("%(task)s (skipped)") % {"task": task.task_id}
    if task.status == RunStatus.SUCCESS:
        return task.task_id
    if task.maybe_executed and task.optional:
        return _("%(task)s (outcome unknown, but it is optional)") % {"task": task.task_id}
    if task.maybe_executed:
        return _("%(task)s (outcome unknown)") % {"task": task.task_id}
    if task.optional:
        return _("%(task)s (fails, but it is optional)") % {"task": task.task_id}
    return _("%(task)s (fails)") % {"task": task.task_id}


def _undone(task: Undone) -> str:
    if task.status is None:
        return _("%(task)s (never, for one before it fails)") % {"task": task.task_id}
    if task.status == RunStatus.FAILED:
        return _("%(task)s (fails)") % {"task": task.task_id}
    if task.maybe_executed:
        return _("%(task)s (it may have been executed)") % {"task": task.task_id}
    return task.task_id


def _exception(raised: Raised) -> str:
    if raised.op == Op.COMPENSATE:
        message = _("A person finds an exception: the compensation of %(task)s has failed")
    elif raised.maybe_executed:
        message = _("A person finds an exception: the outcome of %(task)s is unknown")
    else:
        message = _("A person finds an exception: %(task)s has failed")
    return message % {"task": raised.task_id}
