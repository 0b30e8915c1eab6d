"""Refusals outside of views, and crashes: a page for people in the console, the envelope for everybody else.

Named in the settings CSRF_FAILURE_VIEW and AXES_LOCKOUT_CALLABLE, and in urls.py.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from axes.helpers import get_cool_off
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dist_task import envelope
from dist_task.console.site import site


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if not _is_console(request):
        return envelope.csrf_failure(request, reason)
    sentence = _("This form was too old, or came from another site. Load the page again, and send it again.")
    return site.refusal(request, status=403, sentence=sentence).render()


def locked(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, Any] | None = None
) -> HttpResponse:
    pause = get_cool_off(request)
    minutes = max(1, ceil(pause.total_seconds() / 60)) if pause else 0
    sentence = ngettext(
        "Too many failed logins. Try again in %(n)d minute.",
        "Too many failed logins. Try again in %(n)d minutes.",
        minutes,
    ) % {"n": minutes}
    if not _is_console(request):
        return envelope.respond(envelope.Failure(429, sentence))
    return site.refusal(request, status=429, sentence=sentence).render()


def server_error(request: HttpRequest) -> HttpResponse:
    if not _is_console(request):
        return envelope.server_error(request)
    failure = envelope.crash(request)
    # Without the console's own frame: that reads the database, which may be what is broken.
    page = render_to_string("admin/crash.html", {"sentence": failure.message})
    return envelope.once_logged(HttpResponse(page, status=failure.code, headers=dict(failure.headers)))


def _is_console(request: HttpRequest) -> bool:
    return request.path.startswith(reverse("admin:index"))
