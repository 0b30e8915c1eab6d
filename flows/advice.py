"""Warnings: what a definition may say, and its author may not have meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext

from dist_task.executors.base import Executor
from dist_task.problems import MOST_REPORTED, Fault, Problem, child_path
from flows.definition import FlowDefinition
from flows.hints import EXAMPLES, example_of
from flows.task_spec import TaskSpec

Executors = Mapping[str, Executor]


def warnings_of(flow: FlowDefinition, *, executors: Executors) -> list[Problem]:
    """In the order of the tasks; the first hundred."""
    found: list[Problem] = []
    for index, task in enumerate(flow.tasks.values()):
        path = child_path("tasks", index)
        found += _of_undoing(task, path=path, flow=flow, executors=executors)
        found += _of_config(task, path=path, executors=executors)
        if task.compensate:
            found += _of_config(task.compensate, path=child_path(path, "compensate"), executors=executors)
        if len(found) >= MOST_REPORTED:
            break
    return found[:MOST_REPORTED]


def _of_undoing(task: TaskSpec, *, path: str, flow: FlowDefinition, executors: Executors) -> Iterator[Problem]:
    executor = executors.get(task.type)
    if executor is None:
        return
    where, is_reading = child_path(path, "compensate"), changes_nothing(executor, task.config)
    if flow.on_failure == "compensate" and task.compensate is None and not is_reading:
        message = gettext("changes something that nothing undoes: where the flow fails, this stays as it is")
        yield Problem(where, message, example_of("compensate", EXAMPLES))
    if task.compensate is not None and is_reading and executor.target(task.config):
        message = gettext("undoes a call that changes nothing, and is made all the same")
        yield Problem(where, message, gettext("leave it out"))


def _of_config(task: TaskSpec, *, path: str, executors: Executors) -> Iterator[Problem]:
    advise = getattr(executors.get(task.type), "advise", None)
    path = child_path(path, "config")
    sentences: Iterable[str] = advise(task.config) if advise else ()
    for sentence in sentences:
        key, hint = (sentence.key, sentence.hint) if isinstance(sentence, Fault) else ("", "")
        yield Problem(child_path(path, key) if key else path, sentence, hint)


def changes_nothing(executor: Executor, config: Mapping[str, Any]) -> bool:
    """Whether there is never anything to undo. An executor that does not say may change something."""
    judge = getattr(executor, "changes_nothing", None)
    return bool(judge(config)) if judge else False
