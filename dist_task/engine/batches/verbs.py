"""What people do with batches: make one of a selection, pause, resume and cancel it. For API, console and commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from dist_task.batches.models import DEFAULT_RATE, Batch
from dist_task.batches.words import BatchEvent, BatchStatus
from dist_task.engine.four_eyes import rule
from dist_task.engine.remarks import checked_reason
from dist_task.engine.store import batches
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.four_eyes.words import Act

from .table import Verb, check_parameters, find

MOST_ITEMS = 100_000
LEAST_RATE, MOST_RATE = 0.01, 1_000.0


@transaction.atomic
def create(
    rows: QuerySet[Any],
    *,
    target: str,
    verb: str,
    parameters: Mapping[str, Any],
    selection: Mapping[str, Any],
    remark: str,
    actor: str,
    rate: float = DEFAULT_RATE,
) -> Batch:
    """A batch over `rows` as they are now, which begins within a second or so where a worker lives.

    `rows` are of the target's model; `selection` says how they were chosen, for people to read. Where the four-eyes
    rule is on it awaits a second person, and nothing of it is done before.
    """
    found = find(target, verb)
    check_parameters(found, parameters)
    _check_rate(rate)
    batch = Batch.objects.create(
        target=target,
        verb=verb,
        parameters=dict(parameters),
        selection=dict(selection),
        remark=checked_reason(remark),
        language=get_language() or "en",
        rate=rate,
        created_by=actor,
        status=BatchStatus.AWAITING if is_only_asked_for(found) else BatchStatus.RUNNING,
    )
    _check_count(batches.freeze(batch, rows=rows, most=MOST_ITEMS + 1))
    if batch.status == BatchStatus.AWAITING:
        _ask_for(batch, actor=actor, remark=remark)
    else:
        batches.write_log(batch.pk, event=BatchEvent.CREATED, actor=actor, message=remark)
    batch.refresh_from_db()
    return batch


def is_only_asked_for(verb: Verb) -> bool:
    """Many at once are no way around a rule about one."""
    return rule.is_needed(Act.BATCH, verb.act)


def _ask_for(batch: Batch, *, actor: str, remark: str) -> None:
    request = rule.make_request(act=Act.BATCH, actor=actor, remark=remark, batch=batch)
    detail = {"request": request.pk, "act": request.act, "expires_at": request.expires_at.isoformat()}
    batches.write_log(batch.pk, event=BatchEvent.REQUESTED, actor=actor, message=remark, detail=detail)


def pause(batch_id: int, *, actor: str, remark: str) -> Batch:
    """The item that is being done ends, and no other begins."""
    return _steer(batch_id, to=BatchStatus.PAUSED, event=BatchEvent.PAUSED, actor=actor, remark=remark)


def resume(batch_id: int, *, actor: str, remark: str) -> Batch:
    return _steer(batch_id, to=BatchStatus.RUNNING, event=BatchEvent.RESUMED, actor=actor, remark=remark)


def cancel(batch_id: int, *, actor: str, remark: str) -> Batch:
    """Items that have not begun stay pending for good; what was done stays done."""
    return _steer(batch_id, to=BatchStatus.CANCELLED, event=BatchEvent.CANCELLED, actor=actor, remark=remark)


@transaction.atomic
def _steer(batch_id: int, *, to: BatchStatus, event: BatchEvent, actor: str, remark: str) -> Batch:
    remark = checked_reason(remark)
    moved = batches.move(batch_id, to=to)
    batch = Batch.objects.filter(pk=batch_id).first()
    if batch is None:
        raise NotFound(_("batch %(id)s does not exist") % {"id": batch_id})
    if not moved:
        message = _("batch %(id)s is %(status)s: this cannot be done with it now")
        raise IllegalMove(message % {"id": batch_id, "status": batch.get_status_display()})
    batches.write_log(batch_id, event=event, actor=actor, message=remark)
    return batch


def _check_rate(rate: float) -> None:
    if not LEAST_RATE <= rate <= MOST_RATE:
        message = _("rate must be from %(least)s to %(most)d items per second")
        raise InvalidRequest(message % {"least": LEAST_RATE, "most": MOST_RATE})


def _check_count(count: int) -> None:
    if not count:
        raise InvalidRequest(_("nothing matches: there is nothing to do"))
    if count > MOST_ITEMS:
        message = ngettext("a batch has at most %(most)d item", "a batch has at most %(most)d items", MOST_ITEMS)
        raise InvalidRequest(message % {"most": MOST_ITEMS})
