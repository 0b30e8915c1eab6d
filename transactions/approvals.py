"""What waits for a person's decision, and what the flow asks: for the console."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.utils.translation import gettext

from dist_task.console.text import fitted
from dist_task.engine.store.verbs import waiting_approvals
from dist_task.models import ExecutionLog, LogEvent, TaskRun
from dist_task.states import WHOLE

from .models import Transaction

MOST_SHOWN = 50
"""Of one transaction: so many are decided at once."""
LONGEST_BYTES = 1_000
"""Of what is said of one transaction, as it stands in a page."""


class Question(NamedTuple):
    """`message` is that of the task, filled in when it began to wait; "" where the flow gives none."""

    run: TaskRun
    message: str = ""

    @property
    def name(self) -> str:
        return name_of(self.run)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


def waiting_of(txns: Sequence[Transaction]) -> dict[int, list[TaskRun]]:
    """The runs that wait for an approval, by transaction; one query."""
    found: dict[int, list[TaskRun]] = {txn.pk: [] for txn in txns}
    for run in waiting_approvals(*txns).defer("input", "output").order_by("id"):
        if len(found[run.transaction_id]) < MOST_SHOWN:
            found[run.transaction_id].append(run)
    return found


def questions_of(txns: Sequence[Transaction]) -> dict[int, list[Question]]:
    """The same with what each asks; two queries."""
    waiting = waiting_of(txns)
    messages = _messages_of([run for runs in waiting.values() for run in runs])
    return {pk: [Question(run, messages.get(run.pk, "")) for run in runs] for pk, runs in waiting.items()}


def told(txns: Sequence[Transaction]) -> list[str]:
    """In one text for each: what it waits for, and with what it was started. Three queries."""
    questions = questions_of(txns)
    params = dict(Transaction.objects.filter(pk__in=list(questions)).values_list("pk", "params"))
    return [fitted(_told(questions[txn.pk], params=params.get(txn.pk)), most_bytes=LONGEST_BYTES) for txn in txns]


def listed(runs: Iterable[TaskRun]) -> str:
    return ", ".join(map(name_of, runs))


def name_of(run: TaskRun) -> str:
    return run.task_id if run.item == WHOLE else f"{run.task_id} [{run.item}]"


def _told(questions: Sequence[Question], *, params: Any) -> str:
    asked = "; ".join(map(str, questions)) or gettext("nothing")
    if not params:
        return asked
    given = json.dumps(params, ensure_ascii=False)
    return gettext("%(questions)s; started with %(params)s") % {"questions": asked, "params": given}


def _messages_of(runs: Sequence[TaskRun]) -> dict[int, str]:
    """Each stands in the log of the attempt that began to wait."""
    if not runs:
        return {}
    entries = ExecutionLog.objects.filter(
        event=LogEvent.WAITING,
        transaction__in={run.transaction_id for run in runs},
        task_id__in={run.task_id for run in runs},
        item__in={run.item for run in runs},
    )
    columns = ("transaction_id", "task_id", "op", "item", "response")
    found = {tuple(place): response for *place, response in entries.order_by("id").values_list(*columns)}
    return {run.pk: _message(found.get((run.transaction_id, run.task_id, run.op, run.item))) for run in runs}


def _message(response: Any) -> str:
    message = response.get("message") if isinstance(response, dict) else None
    return message if isinstance(message, str) else ""
