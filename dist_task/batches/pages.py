"""What the pages of batches show: the preview, the progress, the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext

from dist_task.conf import conf
from dist_task.console.display import list_url
from dist_task.console.keyset import whole
from dist_task.engine.batches.preview import Preview
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.models import Worker
from dist_task.states import CompensationStatus, ExceptionStatus, TransactionStatus

from .models import Batch, BatchItem
from .selection import CONSOLE_FILTERS, ROWS, matching
from .words import BatchStatus, ItemStatus, Target

ITEMS_PER_PAGE = 50
MOST_LOG = 20
MOST_IDS = 1_000
MINI, WIDE = 96, 600
STATES = {"done": "success", "refused": "waiting", "failed": "failed", "pending": "pending"}
"""The symbols and colours of results, by the states that have some."""


@dataclass(frozen=True, slots=True)
class Bar:
    """`segments`: state, where it begins and how wide it is."""

    width: int
    segments: tuple[tuple[str, float, float], ...]
    spoken: str


def bar(batch: Batch, *, width: int) -> Bar:
    counts = [(ItemStatus(name), getattr(batch, name)) for name in ("done", "refused", "failed")]
    segments, x = [], 0.0
    for status, count in counts:
        length = width * count / max(batch.total, 1)
        if count:
            segments.append((STATES[status], round(x, 2), round(length, 2)))
        x += length
    words = ", ".join(f"{status.label}: {count}" for status, count in counts if count)
    text = gettext("%(ended)d of %(total)d") % {"ended": batch.ended, "total": batch.total}
    return Bar(width, tuple(segments), f"{text} ({words})" if words else text)


def chosen_rows(request: HttpRequest, *, target: str) -> tuple[QuerySet[Any], dict[str, Any]]:
    """By the ids or the filters in the address; InvalidRequest where those are wrong."""
    if "ids" in request.GET:
        ids = [number for text in request.GET["ids"].split(",")[:MOST_IDS] if (number := whole(text)) is not None]
        return ROWS[target].objects.filter(pk__in=ids), {"ids": len(ids)}
    known = CONSOLE_FILTERS[target].base_filters
    given = {name: request.GET[name] for name in known if request.GET.get(name)}
    if target == Target.EXCEPTIONS:
        given.setdefault("status", ExceptionStatus.OPEN.value)  # as the list does
    return matching(target, given, filter_of=CONSOLE_FILTERS), {"filter": given}


def preview_page(found: Preview, *, target: str) -> dict[str, Any]:
    second = TransactionStatus if target == Target.EXCEPTIONS else CompensationStatus
    first = ExceptionStatus if target == Target.EXCEPTIONS else TransactionStatus
    page = f"admin:{ROWS[target]._meta.app_label}_{ROWS[target]._meta.model_name}_change"
    return {
        "found": found,
        "groups": [(group, first(group.statuses[0]).label, second(group.statuses[1]).label) for group in found.groups],
        "second_title": gettext("Transaction") if target == Target.EXCEPTIONS else gettext("Compensation"),
        "sample": [(row, reverse(page, args=(row.target_id,))) for row in found.sample],
        "list_url": list_url(ROWS[target]),
    }


def batch_page(batch: Batch, *, request: HttpRequest) -> dict[str, Any]:
    result = request.GET.get("result", "")
    result = result if result in ItemStatus.values else ""
    items = list(_items(batch, result=result, after=whole(request.GET.get("after")))[: ITEMS_PER_PAGE + 1])
    page = f"admin:{ROWS[batch.target]._meta.app_label}_{ROWS[batch.target]._meta.model_name}_change"
    last = items[ITEMS_PER_PAGE - 1].pk if len(items) > ITEMS_PER_PAGE else None
    export = reverse("admin:batch_export", args=(batch.pk,))
    return {
        "batch": batch,
        "bar": bar(batch, width=WIDE),
        "tabs": [("", gettext("all"), batch.total, not result), *_tabs(batch, chosen=result)],
        "items": [
            (item, STATES[item.status], reverse(page, args=(item.target_id,))) for item in items[:ITEMS_PER_PAGE]
        ],
        "older": f"?{urlencode({'result': result, 'after': last})}" if last else "",
        "is_beyond": "after" in request.GET,
        "result": result,
        "export_url": f"{export}?status={result}" if result else export,
        "log": list(batch.log.order_by("-id")[:MOST_LOG])[::-1],
        "nobody_works": batch.status == BatchStatus.RUNNING
        and not Worker.objects.filter(lease_until__gt=Now()).exists(),
    }


def request_of(batch: Batch) -> ApprovalRequest | None:
    """What a second person is asked, or has decided. Not looked for where nobody is ever asked."""
    if not conf.FOUR_EYES and batch.status != BatchStatus.AWAITING:
        return None
    return ApprovalRequest.objects.filter(batch=batch).first()


def _tabs(batch: Batch, *, chosen: str) -> list[tuple[str, Any, int, bool]]:
    counts = {"done": batch.done, "refused": batch.refused, "failed": batch.failed, "pending": batch.left}
    return [(name, ItemStatus(name).label, count, name == chosen) for name, count in counts.items()]


def _items(batch: Batch, *, result: str, after: int | None) -> QuerySet[BatchItem]:
    rows = BatchItem.objects.filter(batch=batch).order_by("id")
    if result:
        rows = rows.filter(status=result)
    return rows if after is None else rows.filter(pk__gt=after)
