"""How values look in the console. Everything that came from outside is escaped here, by `format_html`."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from dist_task.console.text import LONGEST_JSON_BYTES, fitted, plain, pretty, short
from dist_task.models import TaskRun
from dist_task.states import ExceptionStatus, Op, RunStatus

__all__ = [
    "ago",
    "badge",
    "capped",
    "json_block",
    "list_url",
    "moment",
    "of_direction",
    "row_link",
    "short",
    "since",
    "span",
    "state_of_run",
    "text_block",
]

SYMBOLS = {
    "pending": "○",
    "running": "▶",
    "waiting": "‖",
    "success": "✓",
    "done": "✓",
    "failed": "✕",
    "skipped": "↷",
    "cancelled": "⊘",
    "open": "!",
    "retrying": "↻",
    "handled": "✓",
    "yes": "✓",
    "no": "–",
}


def badge(state: str, *, word: object) -> SafeString:
    """A state as symbol and word; colour only repeats what they say."""
    template = '<span class="state state-{}"><span class="symbol" aria-hidden="true">{}</span> {}</span>'
    return format_html(template, state, SYMBOLS.get(state, "•"), word)


def state_of_run(run: TaskRun) -> tuple[str, str]:
    """State and word. What has failed and is tried again is not what has not begun, though it is pending as well."""
    if run.status == RunStatus.PENDING and run.attempt:
        return ExceptionStatus.RETRYING.value, str(ExceptionStatus.RETRYING.label)
    return run.status, str(run.get_status_display())


def row_link(row: Model, *, text: object = "") -> SafeString:
    opts = row._meta
    url = reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=(row.pk,))
    return format_html('<a href="{}">{}</a>', url, plain(text or row))


def list_url(model: type[Model], *, query: str = "") -> str:
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{url}?{query}" if query else url


def json_block(value: object, most_bytes: int = LONGEST_JSON_BYTES) -> SafeString:
    if value is None:
        return SafeString("–")
    return format_html('<pre class="json" tabindex="0">{}</pre>', pretty(value, most_bytes=most_bytes))


def text_block(value: str, most_bytes: int = LONGEST_JSON_BYTES) -> SafeString:
    return format_html('<pre class="error" tabindex="0">{}</pre>', fitted(value, most_bytes=most_bytes))


def span(length: timedelta | float | None) -> str:
    """A duration in its two largest units, such as `3 min 4 s`."""
    if length is None:
        return "–"
    seconds = max(length.total_seconds() if isinstance(length, timedelta) else length, 0.0)
    if seconds < 1:
        return gettext("%(n)d ms") % {"n": round(seconds * 1000)}
    if seconds < 60:
        return gettext("%(n)s s") % {"n": f"{seconds:.1f}".removesuffix(".0")}
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return gettext("%(minutes)d min %(seconds)d s") % {"minutes": minutes, "seconds": rest}
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return gettext("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    days, hours = divmod(hours, 24)
    text = ngettext("%(days)d day %(hours)d h", "%(days)d days %(hours)d h", days)
    return text % {"days": days, "hours": hours}


def ago(at: datetime | None, *, now: datetime | None = None) -> str:
    return "–" if at is None else span((now or timezone.now()) - at)


def since(at: datetime | None) -> SafeString:
    """How long ago, with the time in full where the pointer rests."""
    if at is None:
        return SafeString("–")
    text = gettext("%(time)s ago") % {"time": ago(at)}
    local = timezone.localtime(at)
    template = '<time datetime="{}" title="{}">{}</time>'
    return format_html(template, at.isoformat(), f"{local:%Y-%m-%d %H:%M:%S}", text)


def moment(at: datetime | None) -> SafeString:
    """A time in full, as the machine and the person read it."""
    if at is None:
        return SafeString("–")
    local = timezone.localtime(at)
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), f"{local:%Y-%m-%d %H:%M:%S}")


def capped(count: int, *, cap: int) -> str:
    return f"{cap}+" if count > cap else str(count)


def of_direction(name: str, op: str) -> str:
    """A task's name, and that it is about undoing it where it is."""
    return gettext("undo: %(name)s") % {"name": name} if op == Op.COMPENSATE else name
