"""From a list to a batch: which verbs its rows may have in bulk, and the addresses that ask what would happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from dist_task.engine.batches.table import VERBS

BULK = "batches.add_batch"
SMALL = 20
"""So many rows are done at once, on the page that asked; more are a batch."""
LABELS: Mapping[str, Any] = {
    "retry": _("Retry…"),
    "handle": _("Handle…"),
    "skip": _("Skip…"),
    "complete": _("Complete by hand…"),
    "pause": _("Pause…"),
    "resume": _("Resume…"),
    "cancel": _("Cancel…"),
    "compensate": _("Compensate…"),
    "rerun": _("Run again…"),
    "assign": _("Assign…"),
    "comment": _("Comment…"),
}


def may_in_bulk(user: Any, *, target: str, verb: str) -> bool:
    found = VERBS.get((target, verb))
    return found is not None and user.has_perm(BULK) and user.has_perm(found.permission)


def bulk_links(user: Any, *, target: str, query: Mapping[str, str]) -> list[tuple[Any, str]]:
    """A word and an address for each verb that this person may do to all rows of a list."""
    return [
        (LABELS.get(verb, verb), new_batch_url(of, verb, query=query))
        for of, verb in VERBS
        if of == target and may_in_bulk(user, target=target, verb=verb)
    ]


def batch_of_selected(user: Any, *, target: str, verb: str, ids: Iterable[int]) -> str:
    """The address for these rows; "" for who does them one page at a time."""
    if not may_in_bulk(user, target=target, verb=verb):
        return ""
    return new_batch_url(target, verb, query={"ids": ",".join(map(str, ids))})


def new_batch_url(target: str, verb: str, *, query: Mapping[str, str]) -> str:
    return f"{reverse('admin:batch_new', args=(target, verb))}?{urlencode(query)}"
