"""Who may decide a request: another person with the permissions that asking for it takes."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from dist_task.engine.batches.table import COMPENSATE, VERBS, find
from dist_task.engine.four_eyes.rule import COMMAND

from .models import ApprovalRequest, ApprovalRequestQuerySet
from .words import Act

MAKE_BATCHES = "batches.add_batch"


def permissions_of(request: ApprovalRequest) -> tuple[str, ...]:
    """As for doing it."""
    if request.batch is None:
        return (COMPENSATE,)
    return (MAKE_BATCHES, find(request.batch.target, request.batch.verb).permission)


def may_decide(user: Any, request: ApprovalRequest) -> bool:
    return all(user.has_perm(permission) for permission in permissions_of(request))


def may_decide_some(user: Any) -> bool:
    return user.has_perm(COMPENSATE) or user.has_perm(MAKE_BATCHES)


def is_own(user: Any, request: ApprovalRequest) -> bool:
    return request.asked_by in _names_of(user)


def awaiting_decision_of(user: Any) -> ApprovalRequestQuerySet:
    """What others have asked for, and this person may decide."""
    mine = Q(act=Act.COMPENSATE) if user.has_perm(COMPENSATE) else Q(pk__in=())
    if user.has_perm(MAKE_BATCHES):
        for (target, verb), found in VERBS.items():
            if user.has_perm(found.permission):
                mine |= Q(batch__target=target, batch__verb=verb)
    return ApprovalRequest.objects.awaiting().filter(mine).exclude(asked_by__in=_names_of(user))


def _names_of(user: Any) -> tuple[str, str]:
    """As an actor of the console and the API, and of commands."""
    name = user.get_username()
    return name, f"{COMMAND}{name}"
