"""People at work while everything breaks: what they do changes when things happen, and not how they end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import QuerySet

from dist_task.engine import operate
from dist_task.errors import DatabaseUnavailable, DistTaskError
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

ACTOR = "operator"
BY = {"actor": ACTOR, "remark": "campaign"}
LONGEST_BREAK_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.05
"""Short: what is paused and resumed in one breath is what tears at a worker that has it in hand."""
LAST_LOOK_SECONDS = 0.2


class Operators:
    """They pause and resume, retry at once what would be retried later, and comment.

    `done` counts what they did, and as `refused` what they were told not to do.
    """

    def __init__(self, *, seed: int, people: int = 3) -> None:
        self.done: Counter[str] = Counter()
        self._leaving = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(f"{seed}/operator/{number}"),), daemon=True)
            for number in range(people)
        ]

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """After everything that they have paused was resumed."""
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    def _work(self, dice: random.Random) -> None:
        while not self._leaving.wait(dice.uniform(0.0, LONGEST_BREAK_SECONDS)):
            self._attempt(partial(dice.choice([self._pause, self._pause, self._retry, self._comment]), dice))
        while not self._attempt(self._resume_all):
            time.sleep(LAST_LOOK_SECONDS)
        connection.close()

    def _attempt(self, verb: Callable[[], object]) -> bool:
        """Whether nothing came in between."""
        try:
            verb()
        except (DatabaseError, DatabaseUnavailable):
            connection.close()
        except DistTaskError:
            self.done["refused"] += 1
        else:
            return True
        return False

    def _pause(self, dice: random.Random) -> None:
        """For a moment; what cannot be resumed then, because the database is away, is resumed in the end."""
        txn = _one_of(_ours(), dice=dice)
        if txn is None:
            return
        operate.pause_transaction(txn.instance_id, **BY)
        self.done["pause"] += 1
        self._leaving.wait(dice.uniform(0.0, LONGEST_PAUSE_SECONDS))
        self._resume(txn)

    def _resume(self, txn: Transaction) -> None:
        operate.resume_transaction(txn.instance_id, **BY)
        self.done["resume"] += 1

    def _retry(self, dice: random.Random) -> None:
        record = _one_of(ExceptionRecord.objects.filter(status="retrying"), dice=dice)
        if record is not None:
            operate.retry_exception(record.pk, delay_seconds=0, **BY)
            self.done["retry_at_once"] += 1

    def _comment(self, dice: random.Random) -> None:
        record = _one_of(ExceptionRecord.objects.all(), dice=dice)
        if record is not None:
            operate.comment_exception(record.pk, **BY)
            self.done["comment"] += 1

    def _resume_all(self) -> None:
        """What a parent's pause has reached is resumed with the parent."""
        for txn in Transaction.objects.filter(paused=True, parent=None):
            self._resume(txn)


def _ours() -> QuerySet[Transaction]:
    return Transaction.objects.unfinished().filter(parent=None).exclude(instance_id__startswith="poison")


def _one_of(rows: QuerySet[Any], *, dice: random.Random) -> Any:
    """Of the newest ones."""
    return dice.choice(newest) if (newest := list(rows.order_by("-pk")[:50])) else None
