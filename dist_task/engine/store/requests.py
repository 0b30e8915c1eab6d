"""Requests for approval: made, and decided once. Whoever writes here holds the row that the request is about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.words import RequestStatus


def make(*, act: str, actor: str, remark: str, hours: float, **about: Any) -> ApprovalRequest:
    """`about`: the transaction with `arguments`, or the batch."""
    expires_at = Now() + timedelta(hours=hours)
    made = ApprovalRequest.objects.create(act=act, asked_by=actor, remark=remark, expires_at=expires_at, **about)
    made.refresh_from_db()
    return made


def decide(request_id: int, *, to: RequestStatus, actor: str, remark: str) -> bool:
    """False when it was decided before."""
    rows = ApprovalRequest.objects.filter(pk=request_id, status=RequestStatus.AWAITING)
    return bool(rows.update(status=to, decided_by=actor, decided_at=Now(), decision_remark=remark))
