"""What a person reads before an approval is decided: what the flow asks, and with what the transaction was started."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Left
from django.utils.translation import gettext

from dist_task.console.bulk import SMALL
from dist_task.console.confirm import Detail
from dist_task.console.text import fitted
from dist_task.models import ExecutionLog, LogEvent, TaskRun
from dist_task.states import WHOLE

from .models import Transaction

MOST_QUESTIONS = 5
"""Of one transaction; what waits beside them is named only."""
ROOM_BYTES = 50_000
"""Of all texts of a page; a message as long as a flow may give fits where one transaction is asked about."""


def details_of(waiting: Sequence[tuple[Transaction, Sequence[TaskRun]]]) -> list[list[Detail]]:
    """For each transaction, with its runs that wait. Nothing where they are more than a page has room for."""
    if len(waiting) > SMALL:
        return [[] for _pair in waiting]
    asked = [(txn, runs[:MOST_QUESTIONS]) for txn, runs in waiting]
    most_bytes = ROOM_BYTES // max(1, sum(len(runs) + 1 for _txn, runs in asked))
    messages = _messages_of([run for _txn, runs in asked for run in runs], most=most_bytes)
    params = _params_of([txn for txn, _runs in asked], most=most_bytes)
    found = []
    for txn, runs in asked:
        texts = [(name_of(run), messages.get(run.pk)) for run in runs]
        texts.append((gettext("Started with"), params.get(txn.pk)))
        found.append([Detail(name, fitted(text, most_bytes=most_bytes)) for name, text in texts if text])
    return found


def name_of(run: TaskRun) -> str:
    return run.task_id if run.item == WHOLE else f"{run.task_id} [{run.item}]"


def _messages_of(runs: Sequence[TaskRun], *, most: int) -> dict[int, str]:
    """What each asks: it stands in the log of the attempt that began to wait."""
    if not runs:
        return {}
    entries = ExecutionLog.objects.filter(
        event=LogEvent.WAITING,
        transaction__in={run.transaction_id for run in runs},
        task_id__in={run.task_id for run in runs},
        item__in={run.item for run in runs},
    )
    message = Left(KeyTextTransform("message", "response"), most + 1)
    columns = ("transaction_id", "task_id", "op", "item", message)
    found = {tuple(place): text for *place, text in entries.order_by("id").values_list(*columns)}
    return {run.pk: found.get((run.transaction_id, run.task_id, run.op, run.item)) or "" for run in runs}


def _params_of(txns: Sequence[Transaction], *, most: int) -> dict[int, str]:
    text = Left(Cast("params", TextField()), most + 1)
    return dict(Transaction.objects.filter(pk__in=[txn.pk for txn in txns]).values_list("pk", text))
