"""The verbs of exceptions."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from dist_task.engine.remarks import checked_reason, checked_remark
from dist_task.engine.store import verbs
from dist_task.errors import IllegalMove, InvalidRequest
from dist_task.models import LogEvent, TaskRun
from dist_task.payload import dumps
from dist_task.problems import shown
from dist_task.states import CompensationStatus, ExceptionStatus, Op, Resolution, RunStatus, TransactionStatus
from exceptions_app.models import ExceptionRecord
from flows.retry import RetryPolicy
from transactions.models import Transaction

from .frame import (
    already_handled,
    committed,
    database_now,
    locked_exception,
    log,
    refuse_run_again,
    refuse_undone,
    reopen,
    schedule,
    spec_of,
    undo,
)
from .given import checked_input, for_audit

LONGEST_DELAY_SECONDS = 30 * 86_400
LONGEST_NAME = 150
HANDLE = "exceptions_app.handle_exceptionrecord"
"""What somebody must be allowed to whom an exception is assigned."""


@transaction.atomic
def retry_exception(
    exception_id: int,
    *,
    actor: str,
    delay_seconds: float | None = None,
    at: datetime | None = None,
    input: dict[str, Any] | None = None,
    force: bool = False,
    remark: str = "",
    seen: str | None = None,
) -> ExceptionRecord:
    """Schedules the task run at now + `delay_seconds` (default: the interval of its policy; 0 is now), or `at` a time.

    With `input` it is given that from now on, in place of what it had. The Idempotency-Key stays the same: a service
    that did the work with the old input answers so. With `seen` it is refused where the record stands otherwise than
    somebody has looked at it (`seen_of`).
    """
    record, txn = locked_exception(exception_id, goes_on=True)
    if seen is not None and seen != seen_of(record):
        raise IllegalMove(_("exception %(id)s has changed since it was looked at") % {"id": record.pk})
    run = record.run
    policy = spec_of(txn, run=run).retry
    _check_retry(record, txn=txn, run=run, policy=policy, force=force)
    due_at = _due_at(at, delay_seconds=delay_seconds, policy=policy)
    detail: dict[str, Any] = {"exception": record.pk, "due_at": due_at.isoformat(), "force": force}
    if input is not None:
        detail |= _replace_input(input, txn=txn, run=run, force=force)
    _retry(run, txn=txn, due_at=due_at, actor=actor, remark=remark, detail=detail)
    record.refresh_from_db()
    return record


def seen_of(record: ExceptionRecord) -> str:
    """How it stands, in a few letters: another text after each attempt, retry and change of the input."""
    run = record.run
    facts = (record.status, record.occurrences, record.retry_next_at, run.status, run.attempt, dumps(run.input))
    return blake2b(repr(facts).encode(), digest_size=12).hexdigest()


def _retry(
    run: TaskRun, *, txn: Transaction, due_at: datetime, actor: str, remark: str, detail: dict[str, Any]
) -> None:
    schedule(txn, runs=[run], due_at=due_at)
    log(txn, event=LogEvent.RETRIED, actor=actor, remark=remark, detail=detail, run=run)
    if run.op == Op.COMPENSATE and txn.compensation == CompensationStatus.FAILED:
        undo(txn, due_at=due_at)
    elif run.op == Op.ACTION and txn.status == TransactionStatus.FAILED:
        reopen(txn, due_at=due_at)
    else:
        verbs.wake(txn, due_at=due_at)
    committed(txn)


def retry_repaired(txn: Transaction, *, run: TaskRun, remark: str) -> None:
    """The failure of a run was repaired elsewhere: it is tried again, unless a person handled it, or it is too late."""
    record = ExceptionRecord.objects.unhandled().filter(run=run).first()
    if record is None:
        return
    try:
        _check_retry(record, txn=txn, run=run, policy=spec_of(txn, run=run).retry, force=True)
        detail = {"exception": record.pk}
        _retry(run, txn=txn, due_at=database_now(), actor="system", remark=remark, detail=detail)
    except IllegalMove as error:
        log(txn, event=LogEvent.ANSWERED, actor="system", remark=str(error), detail={}, run=run)


@transaction.atomic
def handle_exception(
    exception_id: int, *, actor: str, remark: str = "", resolution: str = Resolution.ACKNOWLEDGED
) -> ExceptionRecord:
    """Marks it as handled and runs nothing; where retries are left, handling stops them."""
    if resolution not in Resolution.values:
        message = _("resolution must be one of %(choices)s")
        raise InvalidRequest(message % {"choices": ", ".join(Resolution.values)})
    record, txn = locked_exception(exception_id)
    remark = checked_remark(remark)
    before = record.status
    handled = verbs.mark_handled(exception_id=record.pk, actor=actor, remark=remark, resolution=resolution)
    if not handled:
        raise IllegalMove(already_handled(record))
    if before == ExceptionStatus.RETRYING:
        verbs.give_up_run(run_id=record.run_id)
        verbs.wake(txn)
    detail = {"exception": record.pk, "before": before, "resolution": resolution}
    log(txn, event=LogEvent.HANDLED, actor=actor, remark=remark, detail=detail, run=record.run)
    committed(txn)
    record.refresh_from_db()
    return record


@transaction.atomic
def assign_exception(
    exception_id: int, *, assignee: str, actor: str, remark: str, force: bool = False
) -> ExceptionRecord:
    """Says who looks after it; nobody, where `assignee` is empty. Of two who take it at once one has it, and the other
    is told: what somebody else looks after takes `force`."""
    remark = checked_reason(remark)
    record, txn = locked_exception(exception_id)
    if record.status == ExceptionStatus.HANDLED:
        raise IllegalMove(already_handled(record))
    if assignee:
        _check_assignee(assignee)
    before = record.assignee
    if before not in ("", actor, assignee) and not force:
        message = _("exception %(id)s is assigned to %(assignee)s; force overrides that")
        raise IllegalMove(message % {"id": record.pk, "assignee": before})
    if before != assignee and verbs.assign(exception_id=record.pk, before=before, assignee=assignee):
        detail = {"exception": record.pk, "before": {"assignee": before}, "after": {"assignee": assignee}}
        log(txn, event=LogEvent.ASSIGNED, actor=actor, remark=remark, detail=detail, run=record.run)
    record.refresh_from_db()
    return record


def _check_assignee(name: str) -> None:
    users = get_user_model().objects.filter(username=name, is_active=True)
    user = None if len(name) > LONGEST_NAME or "\0" in name else users.first()
    if user is None or not user.has_perm(HANDLE):
        message = _("there is no active user %(name)s who may handle exceptions")
        raise InvalidRequest(message % {"name": shown(name)})


@transaction.atomic
def comment_exception(exception_id: int, *, actor: str, remark: str) -> ExceptionRecord:
    """What somebody has to say about it, for whoever looks next. Kept for good; also of one that was handled."""
    remark = checked_reason(remark)
    record, txn = locked_exception(exception_id)
    log(txn, event=LogEvent.COMMENTED, actor=actor, remark=remark, detail={"exception": record.pk}, run=record.run)
    return record


def _check_retry(record: ExceptionRecord, *, txn: Transaction, run: TaskRun, policy: RetryPolicy, force: bool) -> None:
    if record.status == ExceptionStatus.HANDLED:
        raise IllegalMove(already_handled(record))
    if run.op == Op.ACTION:
        refuse_undone(txn)
        refuse_run_again(txn)
    is_over = run.op == Op.ACTION and txn.status in (TransactionStatus.SUCCESS, TransactionStatus.CANCELLED)
    if is_over or txn.cancelling:
        message = _("the status of the transaction %(id)s is %(status)s: its tasks can no longer be retried")
        shown = _("being cancelled") if txn.cancelling else txn.get_status_display()
        raise IllegalMove(message % {"id": txn.instance_id, "status": shown})
    if run.status not in (RunStatus.FAILED, RunStatus.PENDING):
        message = _("the task %(task)s is %(status)s right now")
        raise IllegalMove(message % {"task": run.task_id, "status": run.get_status_display()})
    if policy.strategy == "no_retry" and not force:
        raise IllegalMove(_("the task %(task)s must not be retried; force overrides that") % {"task": run.task_id})


def _replace_input(value: dict[str, Any], *, txn: Transaction, run: TaskRun, force: bool) -> dict[str, Any]:
    """What the log says of it."""
    value = checked_input(value, txn=txn, run=run, force=force)
    if not verbs.replace_input(run_id=run.pk, value=value):
        raise IllegalMove(_("the transaction %(id)s was changed by somebody else") % {"id": txn.instance_id})
    return {"before": {"input": for_audit(run.input)}, "after": {"input": for_audit(value)}}


def _due_at(at: datetime | None, *, delay_seconds: float | None, policy: RetryPolicy) -> datetime:
    now = database_now()
    if at is None:
        return now + timedelta(seconds=_delay(delay_seconds, policy=policy))
    if delay_seconds is not None:
        raise InvalidRequest(_("say either delay or at"))
    if timezone.is_naive(at) or not now <= at <= now + timedelta(seconds=LONGEST_DELAY_SECONDS):
        raise InvalidRequest(
            _("at must be a time within the next %(days)d days") % {"days": LONGEST_DELAY_SECONDS / 86_400}
        )
    return at


def _delay(delay_seconds: float | None, *, policy: RetryPolicy) -> float:
    seconds = policy.interval if delay_seconds is None else delay_seconds
    if not 0 <= seconds <= LONGEST_DELAY_SECONDS:
        raise InvalidRequest(_("delay must be from 0 to %(most)d seconds") % {"most": LONGEST_DELAY_SECONDS})
    return seconds
