"""What becomes of a request: a second person approves or rejects it, who asked withdraws it, or its time is over.

Each is one database transaction: the decision, what it carries out, and the entries in the log that name both people.
What a request is about is locked first, as by everybody who changes that; so of several people one decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.db import connection, transaction
from django.utils.translation import gettext as _

from dist_task.batches.models import Batch
from dist_task.batches.words import BatchEvent, BatchStatus
from dist_task.engine.operate.frame import log
from dist_task.engine.operate.transactions import check_compensable, standing, undo_transaction
from dist_task.engine.remarks import checked_reason, checked_remark
from dist_task.engine.store import batches, kin, requests, verbs
from dist_task.errors import IllegalMove, NotFound
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.words import Act, RequestStatus
from dist_task.models import LogEvent
from transactions.models import Transaction

from .rule import SYSTEM, check_asker, check_second_person

MOST_EXPIRED = 100
LONGEST_LOCK = "5s"


def approve(request_id: int, *, actor: str, remark: str) -> ApprovalRequest:
    """What was asked for is carried out now, in the name of who asked. Refused, with nothing done, where that is not
    possible any more as things stand."""
    remark = checked_reason(remark)
    return _decide(request_id, to=RequestStatus.APPROVED, actor=actor, remark=remark, check=check_second_person)


def reject(request_id: int, *, actor: str, remark: str) -> ApprovalRequest:
    """Nothing of it is ever done."""
    remark = checked_reason(remark)
    return _decide(request_id, to=RequestStatus.REJECTED, actor=actor, remark=remark, check=check_second_person)


def withdraw(request_id: int, *, actor: str, remark: str = "") -> ApprovalRequest:
    """By who asked for it."""
    remark = checked_remark(remark)
    return _decide(request_id, to=RequestStatus.WITHDRAWN, actor=actor, remark=remark, check=check_asker)


def expire_overdue() -> int:
    """Writes of requests whose time is over that it is. Returns of how many; each is a database transaction."""
    ids = ApprovalRequest.objects.overdue().order_by("expires_at").values_list("pk", flat=True)
    return sum(_expire(request_id) for request_id in list(ids[:MOST_EXPIRED]))


def why_not_now(request: ApprovalRequest) -> str:
    """What `approve` would say as things stand, whoever asked; "" where it would be carried out."""
    try:
        _check_open(request)
        KINDS[request.act].check(request)
    except IllegalMove as error:
        return str(error)
    return ""


@transaction.atomic
def _decide(
    request_id: int,
    *,
    to: RequestStatus,
    actor: str,
    remark: str,
    check: Callable[..., None],
) -> ApprovalRequest:
    request = _locked(request_id)
    _check_open(request)
    check(request, actor=actor)
    _settle(request, to=to, actor=actor, remark=remark)
    return request


@transaction.atomic
def _expire(request_id: int) -> bool:
    with connection.cursor() as cursor:  # a worker's thread has more to do than to wait for one row
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", (LONGEST_LOCK,))
    try:
        request = _locked(request_id)
    except NotFound:  # pruned meanwhile
        return False
    if not request.is_awaiting:
        return False
    _settle(request, to=RequestStatus.EXPIRED, actor=SYSTEM, remark="")
    return True


def _settle(request: ApprovalRequest, *, to: RequestStatus, actor: str, remark: str) -> None:
    if not requests.decide(request.pk, to=to, actor=actor, remark=remark):
        raise IllegalMove(_("request %(id)s was decided by somebody else") % {"id": request.pk})
    request.refresh_from_db()
    kind = KINDS[request.act]
    detail = {"request": request.pk, "asked_by": request.asked_by, "decided_by": actor}
    kind.log(request, event=to.value, actor=actor, remark=remark, detail=detail)
    if to == RequestStatus.APPROVED:
        kind.check(request)
        kind.carry_out(request)
    else:
        kind.give_up(request)


def _locked(request_id: int) -> ApprovalRequest:
    """With what it is about, locked before it was read."""
    found = ApprovalRequest.objects.filter(pk=request_id).only("act", "transaction_id", "batch_id").first()
    if found is None:
        raise NotFound(_("approval request %(id)s does not exist") % {"id": request_id})
    KINDS[found.act].lock(found)
    return ApprovalRequest.objects.select_related("transaction", "batch").get(pk=request_id)


def _check_open(request: ApprovalRequest) -> None:
    if not request.is_awaiting:
        words = {"id": request.pk, "status": request.get_status_display(), "actor": request.decided_by}
        raise IllegalMove(_("request %(id)s is decided already: %(status)s by %(actor)s") % words)
    if not ApprovalRequest.objects.awaiting().filter(pk=request.pk).exists():
        message = _("request %(id)s expired at %(time)s: ask again")
        raise IllegalMove(message % {"id": request.pk, "time": f"{request.expires_at:%Y-%m-%d %H:%M:%S %Z}"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What requests of one act do. `check`: raises IllegalMove where it cannot be carried out as things stand."""

    lock: Callable[[ApprovalRequest], object]
    check: Callable[[ApprovalRequest], None]
    carry_out: Callable[[ApprovalRequest], None]
    give_up: Callable[[ApprovalRequest], None]
    log: Callable[..., None]


def _txn(request: ApprovalRequest) -> Transaction:
    assert request.transaction is not None  # noqa: S101  # a check constraint
    return request.transaction


def _batch(request: ApprovalRequest) -> Batch:
    assert request.batch is not None  # noqa: S101  # a check constraint
    return request.batch


def _lock_transaction(request: ApprovalRequest) -> None:
    """Those above it first, as everywhere: undoing it looks at them."""
    txn = _txn(request)
    kin.lock_above(txn.instance_id)
    verbs.lock(txn.pk)


def _check_unchanged(request: ApprovalRequest) -> None:
    """It may have been repaired meanwhile, and what is a success now is not what somebody wanted undone."""
    txn = _txn(request)
    check_compensable(txn)
    if standing(txn) != request.arguments:
        message = _(
            "%(id)s has gone on since this was asked for: look at it, and ask again if it is still to be undone"
        )
        raise IllegalMove(message % {"id": txn.instance_id})


def _undo(request: ApprovalRequest) -> None:
    approval = {"request": request.pk, "asked_by": request.asked_by, "approved_by": request.decided_by}
    undo_transaction(_txn(request).instance_id, actor=request.asked_by, remark=request.remark, approval=approval)


def _log_of_transaction(request: ApprovalRequest, *, event: str, **entry: object) -> None:
    log(_txn(request), event=LogEvent(event), **entry)  # type: ignore[arg-type]


def _log_of_batch(request: ApprovalRequest, *, event: str, actor: str, remark: str, detail: dict[str, object]) -> None:
    batches.write_log(_batch(request).pk, event=BatchEvent(event), actor=actor, message=remark, detail=detail)


def _release(request: ApprovalRequest) -> None:
    _move(request, to=BatchStatus.RUNNING)


def _cancel(request: ApprovalRequest) -> None:
    _move(request, to=BatchStatus.CANCELLED)


def _move(request: ApprovalRequest, *, to: BatchStatus) -> None:
    batch = _batch(request)
    if not batches.decide(batch.pk, to=to):
        message = _("batch %(id)s is %(status)s: this cannot be done with it now")
        raise IllegalMove(message % {"id": batch.pk, "status": batch.get_status_display()})


KINDS: Mapping[str, Kind] = {
    Act.COMPENSATE: Kind(
        lock=_lock_transaction,
        check=_check_unchanged,
        carry_out=_undo,
        give_up=lambda request: None,
        log=_log_of_transaction,
    ),
    Act.BATCH: Kind(
        lock=lambda request: batches.lock(request.batch_id),  # type: ignore[arg-type]  # it has one
        check=lambda request: None,  # its items are judged one by one, each at its turn
        carry_out=_release,
        give_up=_cancel,
        log=_log_of_batch,
    ),
}
