"""What a delivery says to people, in the language of its channel. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, override

from .words import DeliveryEvent, RuleKind, RuleState, Severity

LONGEST_NAME = 100
_HIDDEN = re.compile("[\u0000-\u0020\u007f-\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]+")
"""White space, control characters, and what is not seen or turns the direction of a text."""


@dataclass(frozen=True, slots=True)
class Notice:
    title: str
    lines: tuple[str, ...]
    url: str = ""

    @property
    def text(self) -> str:
        return "\n".join(part for part in (self.title, *self.lines, self.url) if part)


def plain(value: object, *, most: int = LONGEST_NAME) -> str:
    """A name from outside as one line of a text: nothing in it begins a line, hides, or calls people together."""
    line = _HIDDEN.sub(" ", str(value)).strip().replace("@", "\uff20")
    return line if len(line) <= most else line[: most - 1] + "…"


def notice(event: str, payload: Mapping[str, Any], *, language: str) -> Notice:
    with override(language):
        if event in (DeliveryEvent.FIRING, DeliveryEvent.RESOLVED):
            return _of_alert(payload)
        if event == DeliveryEvent.TEST:
            line = _("%(actor)s sent this test from dist_task; nothing is wrong.")
            title = _("Test of the channel %(name)s") % {"name": plain(payload.get("channel", ""))}
            return Notice(title, (line % {"actor": plain(payload.get("sent_by", ""))},), str(payload.get("url", "")))
        return _of_transaction(payload)


def _of_alert(payload: Mapping[str, Any]) -> Notice:
    words = {"severity": Severity(payload["severity"]).label, "name": plain(payload["rule"])}
    if payload["state"] == RuleState.FIRING:
        title = f"[{words['severity']}] {words['name']}"
        lines = [condition(payload), _("since %(time)s") % {"time": payload["since"]}]
    else:
        title = _("[resolved] %(name)s") % words
        lines = [_("in order since %(time)s") % {"time": payload["since"]}]
    if payload.get("flow_name"):
        lines.insert(0, _("flow: %(name)s") % {"name": plain(payload["flow_name"])})
    return Notice(title, tuple(lines), str(payload.get("url", "")))


def condition(payload: Mapping[str, Any]) -> str:
    """What was found, in one sentence."""
    value = int(payload["value"])
    match payload["kind"]:
        case RuleKind.EXCEPTIONS:
            text = ngettext("%(count)d exception needs a person", "%(count)d exceptions need a person", value)
            return f"{text % {'count': value}} {_window(payload)}".strip()
        case RuleKind.COMPENSATION:
            text = ngettext("%(count)d compensation has failed", "%(count)d compensations have failed", value)
            return f"{text % {'count': value}} {_window(payload)}".strip()
        case RuleKind.NOTHING_RUNS:
            return _("no worker has lived for %(seconds)d s") % {"seconds": value}
    return _("the oldest work has been due for %(seconds)d s") % {"seconds": value}


def _window(payload: Mapping[str, Any]) -> str:
    threshold, window = payload.get("threshold", 1), payload.get("window_seconds", 0)
    if window:
        return _("(at least %(threshold)d within %(seconds)d s)") % {"threshold": threshold, "seconds": window}
    return _("(at least %(threshold)d)") % {"threshold": threshold} if threshold > 1 else ""


def _of_transaction(payload: Mapping[str, Any]) -> Notice:
    words = {"id": plain(payload.get("instance_id", "")), "status": plain(payload.get("status", ""))}
    line = _("flow: %(name)s") % {"name": plain(payload.get("flow_name", ""))}
    return Notice(_("Transaction %(id)s: %(status)s") % words, (line,), str(payload.get("url", "")))
