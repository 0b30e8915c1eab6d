"""What a batch would do: how many rows of which status, and what the verb says to a few of each, tried and undone.

Counting takes two statements, trying those of the verb for each row, and waits for whoever is at one of them: a page
counts at once, and tries when it is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg2.errors
from django.db import OperationalError, connection, transaction
from django.db.models import Count, F, Max, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils.translation import gettext as _

from dist_task.batches.words import Target
from dist_task.engine.store.batches import NAME_OF
from dist_task.errors import DistTaskError

from .table import Verb, check_parameters, find, key_of
from .verbs import MOST_ITEMS

MOST_SAMPLED = 20
LONGEST_LOCK = "200ms"
IN_PLACE_OF_REMARK = "preview"
"""Verbs that need a reason are tried before anybody has given one; nothing of it is kept."""
STATUS_OF = {
    Target.EXCEPTIONS: ("status", "transaction__status"),
    Target.TRANSACTIONS: ("status", "compensation"),
}
"""What verbs mostly decide by: of each combination some rows are tried."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A row of the sample; with a `refusal` the verb says no to it."""

    target_id: int
    name: str
    statuses: tuple[str, str]
    refusal: str


@dataclass(frozen=True, slots=True)
class StatusGroup:
    """Rows with the same statuses: how many there are, how many were tried, and how many of those refused, and why."""

    statuses: tuple[str, str]
    count: int
    tried: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """`count` is at most one more than a batch may have; then nothing else was looked at. `newest_id`: of all rows.

    `sample`: those that were tried.
    """

    count: int
    newest_id: int
    groups: tuple[StatusGroup, ...]
    sample: tuple[Tried, ...] = ()

    @property
    def is_tried(self) -> bool:
        return bool(self.sample)

    @property
    def is_too_large(self) -> bool:
        return self.count > MOST_ITEMS


def counted(rows: QuerySet[Any], *, target: str) -> Preview:
    """`rows` as for `verbs.create`; nothing is tried."""
    count = rows.order_by()[: MOST_ITEMS + 1].count()
    if count > MOST_ITEMS:
        return Preview(count, 0, ())
    fields = STATUS_OF[Target(target)]
    found = list(rows.order_by().values_list(*fields).annotate(Count("pk"), Max("pk")).order_by("-pk__count"))
    groups = tuple(StatusGroup((one, two), many) for one, two, many, _newest in found)
    newest_id = max((newest for *_rest, newest in found), default=0)
    return Preview(sum(group.count for group in groups), newest_id, groups)


def preview(rows: QuerySet[Any], *, target: str, verb: str, parameters: Mapping[str, Any], actor: str) -> Preview:
    """The same with a few rows of each group tried. Nothing is changed."""
    by = find(target, verb)
    check_parameters(by, parameters)
    found = counted(rows, target=target)
    if found.is_too_large:
        return found
    chosen = _sample(rows, target=target, per_group=max(1, MOST_SAMPLED // max(1, len(found.groups))))
    sample = tuple(_tried(row, verb=by, target=target, parameters=parameters, actor=actor) for row in chosen)
    return replace(found, groups=tuple(_with_sample(group, sample) for group in found.groups), sample=sample)


def _sample(rows: QuerySet[Any], *, target: str, per_group: int) -> list[Any]:
    """The oldest of each combination of statuses."""
    fields = STATUS_OF[Target(target)]
    number = Window(RowNumber(), partition_by=[F(name) for name in fields], order_by="pk")
    few = rows.order_by().annotate(number_in_group=number).filter(number_in_group__lte=per_group)
    return list(
        few.order_by("number_in_group", "pk").values_list("pk", NAME_OF[Target(target)], *fields)[:MOST_SAMPLED]
    )


def _tried(row: Any, *, verb: Verb, target: str, parameters: Mapping[str, Any], actor: str) -> Tried:
    target_id, name, *statuses = row
    key = key_of(target, target_id=target_id, name=name)
    return Tried(target_id, name, (statuses[0], statuses[1]), _refusal(key, verb, parameters=parameters, actor=actor))


class _UndoneError(Exception):
    """Ends a trial, so that what it changed is rolled back."""


def _refusal(key: int | str, verb: Verb, *, parameters: Mapping[str, Any], actor: str) -> str:
    """By the verb itself, whose changes are rolled back; "" where it would do it."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", (LONGEST_LOCK,))
            verb.apply(key, parameters=parameters, actor=actor, remark=IN_PLACE_OF_REMARK)
            raise _UndoneError
    except _UndoneError:
        return ""
    except DistTaskError as error:
        return str(error)
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg2.errors.LockNotAvailable):
            return _("somebody is at it just now, so it could not be tried")
        raise


def _with_sample(group: StatusGroup, sample: Sequence[Tried]) -> StatusGroup:
    own = [each for each in sample if each.statuses == group.statuses]
    refusals = [each.refusal for each in own if each.refusal]
    return replace(group, tried=len(own), refused=len(refusals), reasons=tuple(dict.fromkeys(refusals)))
