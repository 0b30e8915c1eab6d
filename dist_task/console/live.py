"""What a page that is open asks every few seconds: has anything changed? An answer is a few bytes, or a 304."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, JsonResponse

from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction

MOST_SHOWN = 999
OF_TRANSACTION = """
    SELECT t.revision, t.status, t.compensation, t.owner, t.wake_at, t.cancelling,
           (SELECT max(id) FROM dist_task_executionlog WHERE transaction_id = t.id),
           (SELECT max(started_at) FROM dist_task_taskrun WHERE transaction_id = t.id)
    FROM transactions_transaction t WHERE t.id = %s
"""
"""The same facts in the same order as the page of a transaction knows them."""
OF_ALL = """
    SELECT (SELECT max(id) FROM transactions_transaction), (SELECT max(id) FROM dist_task_executionlog),
           (SELECT max(seen_at) FROM dist_task_worker WHERE lease_until > clock_timestamp()),
           (SELECT sum(sequence) FROM alerts_alertrule)
"""


OF_BATCH = "SELECT status, done, refused, failed FROM batches_batch WHERE id = %s"


def needs_person(user: Any) -> str:
    """How many exceptions need a person, "" for none and for who may not see them."""
    if not user.has_perm("exceptions_app.view_exceptionrecord"):
        return ""
    known = getattr(user, "_needs_person", None)  # asked more than once in a request, whose user this is
    if known is None:
        count = ExceptionRecord.objects.needing_a_person().order_by()[: MOST_SHOWN + 1].count()
        known = user._needs_person = f"{MOST_SHOWN}+" if count > MOST_SHOWN else str(count or "")
    return str(known)


def live_view(request: HttpRequest) -> HttpResponse:
    """`?of=transaction:7`, `?of=batch:7` or `?of=overview`: `version` changes when that page would look different."""
    found = {"needs_person": needs_person(request.user), "version": _version(request)}
    etag = _etag(found)
    if request.headers.get("If-None-Match", "").removeprefix("W/") == etag:
        answer: HttpResponse = HttpResponseNotModified()
    else:
        answer = JsonResponse(found)
    answer["ETag"] = etag
    return answer


def transaction_etag(facts: Sequence[object], *, needs_person: str) -> str:
    """What `live_view` answers for a transaction as a page has shown it."""
    return _etag({"needs_person": needs_person, "version": _digest(tuple(facts))})


def batch_etag(batch: Any, *, needs_person: str) -> str:
    """The same of a batch."""
    facts = (batch.status, batch.done, batch.refused, batch.failed)
    return _etag({"needs_person": needs_person, "version": _digest(facts)})


def _etag(found: object) -> str:
    return f'"{_digest(found)}"'


def _version(request: HttpRequest) -> str:
    kind, _colon, number = request.GET.get("of", "").partition(":")
    is_number = number.isdecimal() and len(number) < 19
    if kind == "batch" and is_number and request.user.has_perm("batches.view_batch"):
        return _digest(_first(OF_BATCH, [int(number)]))
    if not request.user.has_perm("transactions.view_transaction"):
        return ""
    if kind == "transaction" and is_number:
        return _digest(_first(OF_TRANSACTION, [int(number)]))
    return _digest(_first(OF_ALL, [])) if kind == "overview" else ""


def _first(sql: str, parameters: list[int]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


def _digest(value: object) -> str:
    return blake2b(repr(value).encode(), digest_size=8).hexdigest()


def find(text: str) -> tuple[str, Any] | None:
    """What an operator means with an id: an instance id, the number of a transaction, or the id of a task run."""
    asked = text.strip()[:200].replace("\0", "")
    by_name = Transaction.objects.filter(instance_id=asked[:64]).values_list("pk", flat=True).first() if asked else None
    if by_name is not None and len(asked) <= 64:
        return "", by_name
    if asked.isdecimal() and len(asked) < 19:
        by_number = Transaction.objects.filter(pk=int(asked)).values_list("pk", flat=True).first()
        if by_number is not None:
            return "", by_number
    return _task_run(asked)


def _task_run(asked: str) -> tuple[str, Any] | None:
    """`{instance_id}_{task id}`, as on the wire; either may have underscores of its own."""
    cuts = [position for position, character in enumerate(asked) if character == "_" and 0 < position <= 64]
    heads = {asked[:position]: asked[position + 1 :] for position in cuts[:64] if asked[position + 1 :]}
    rows = Transaction.objects.filter(instance_id__in=list(heads)).values_list("instance_id", "pk")
    found = max(rows, key=lambda row: len(row[0]), default=None) if heads else None
    return (heads[found[0]], found[1]) if found else None
