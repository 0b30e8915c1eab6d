"""What needs a second person, and who counts as one."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from dist_task.conf import conf
from dist_task.engine.remarks import checked_reason
from dist_task.engine.store import requests
from dist_task.errors import IllegalMove, InvalidRequest
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.four_eyes.words import Act

ANONYMOUS = "anonymous"
SYSTEM = "system"
COMMAND = "command:"
"""Before the name of the system's user who gave a command."""


def is_needed(*acts: str) -> bool:
    """Whether the setting names one of these acts."""
    return not set(acts).isdisjoint(conf.FOUR_EYES)


def person_behind(actor: str) -> str:
    """Who gives commands on the machine and signs in to the console under the same name is one person."""
    return actor.removeprefix(COMMAND)


def make_request(*, act: Act, actor: str, remark: str, **about: Any) -> ApprovalRequest:
    """InvalidRequest where nobody would know who asks, or why."""
    check_known(actor)
    return requests.make(act=act, actor=actor, remark=checked_reason(remark), hours=conf.FOUR_EYES_HOURS, **about)


def check_known(actor: str) -> None:
    if actor in ("", ANONYMOUS):
        raise InvalidRequest(_("the four-eyes rule has to know who you are: sign in, or send a token"))


def check_second_person(request: ApprovalRequest, *, actor: str) -> None:
    check_known(actor)
    if person_behind(actor) == person_behind(request.asked_by):
        message = _(
            "request %(id)s was asked for by you (%(actor)s): another person has to decide it; you may withdraw it"
        )
        raise IllegalMove(message % {"id": request.pk, "actor": request.asked_by})


def check_asker(request: ApprovalRequest, *, actor: str) -> None:
    check_known(actor)
    if person_behind(actor) != person_behind(request.asked_by):
        message = _("only %(actor)s, who asked for it, may withdraw request %(id)s; others reject it")
        raise IllegalMove(message % {"id": request.pk, "actor": request.asked_by})
