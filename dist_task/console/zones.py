"""Times in the zone of whoever looks: the browser names it in a cookie, and the console's own counts until it has."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

COOKIE = "console_zone"


def zone_named(name: str) -> ZoneInfo | None:
    """None where no zone has this name."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):  # no such file, no such name, a folder of zones
        return None


def in_own_zone(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Rendered at once: later the zone would be another one's."""

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        zone = zone_named(request.COOKIES.get(COOKIE, ""))
        if zone is None:
            return view(request, *args, **kwargs)
        with timezone.override(zone):
            answer = view(request, *args, **kwargs)
            return answer.render() if isinstance(answer, TemplateResponse) else answer

    return inner
