"""Template filters of the console."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from dist_task.console import display, text

register = template.Library()
register.filter("json_block", display.json_block)
register.filter("text_block", display.text_block)
register.filter("moment", display.moment)
register.filter("of_direction", display.of_direction)
register.filter("short", text.short)
register.filter("brief", text.brief)
register.filter("plain", text.plain)

register.filter("since", display.since)


@register.filter
def lookup(values: Any, key: str) -> Any:
    """Of a query string or a dictionary."""
    return values.get(key, "")


@register.filter
def fit(value: str, most_bytes: int) -> str:
    return text.fitted(value, most_bytes=most_bytes)


STATE_OF_EVENT = {
    "succeeded": "success",
    "failed": "failed",
    "unknown": "failed",
    "worker_lost": "failed",
    "waiting": "waiting",
    "fenced": "cancelled",
}


@register.filter
def state(row: Any) -> SafeString:
    """Of anything that has a status and a word for it."""
    word = row.word if hasattr(row, "word") else row.get_status_display()
    return display.badge(row.status, word=word)


@register.filter
def state_word(status: str, word: str) -> SafeString:
    return display.badge(status, word=word)


@register.filter
def event_badge(event: str, word: str) -> SafeString:
    return display.badge(STATE_OF_EVENT.get(event, event), word=word)
