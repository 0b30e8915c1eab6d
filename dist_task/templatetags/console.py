"""Template filters of the console."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from dist_task.console import display

register = template.Library()
register.filter("json_block", display.json_block)
register.filter("moment", display.moment)


@register.filter
def state(row: Any) -> SafeString:
    """Of anything that has a status and a word for it."""
    word = row.word if hasattr(row, "word") else row.get_status_display()
    return display.badge(row.status, word=word)


register.filter("of_direction", display.of_direction)


@register.filter
def state_word(status: str, word: str) -> SafeString:
    return display.badge(status, word=word)
