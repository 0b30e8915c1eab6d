"""A request becomes rows; the same instance_id twice is the same transaction (FLOWS, "Idempotency of the start")."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils.translation import gettext as _

from dist_task import failpoints
from dist_task.errors import Conflict, DistTaskError, InvalidRequest, NotFound
from flows.definition import InvalidDefinition
from flows.models import Flow
from flows.registry_rows import params_schema_of

from .store import leases, starts

INSTANCE_ID = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\ud800-\udfff/\\?#%]{1,64}")
RESERVED_IDS = frozenset({".", "..", "batch"})
MOST_STARTS = 1_000
MOST_WAIT_MS = 250
"""How long gathered starts wait for a lock that somebody else holds."""


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a consumer asks for. `params` is JSON that `payload.check_strict` accepts."""

    instance_id: str
    flow_id: str
    params: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Started:
    """`created` is False when it was there already, with the same flow and params."""

    instance_id: str
    flow_id: str
    status: str
    created: bool


def check_instance_id(value: object) -> str:
    """The id as it is; raises InvalidRequest naming the rule."""
    if not isinstance(value, str):
        raise InvalidRequest(_("instance_id must be a string"))
    if not value:
        raise InvalidRequest(_("instance_id must not be empty"))
    if len(value) > 64:
        raise InvalidRequest(_("instance_id must have at most 64 characters"))
    if value in RESERVED_IDS:
        raise InvalidRequest(_('instance_id must not be ".", ".." or "batch"'))
    if not INSTANCE_ID.fullmatch(value):
        raise InvalidRequest(_("instance_id must not hold whitespace, control characters or any of / \\ ? # %"))
    return value


def check_params(request: StartRequest) -> None:
    """Raises InvalidValue where the flow has a schema that they do not fit. What is no flow is judged later."""
    try:
        schema = params_schema_of(request.flow_id)
    except (Flow.DoesNotExist, InvalidDefinition):
        return
    if schema is not None:
        schema.check(request.params)


def start(request: StartRequest, *, actor: str = "") -> Started:
    """Makes the transaction durable and due. Raises InvalidRequest, NotFound, or Conflict."""
    check_instance_id(request.instance_id)
    check_params(request)
    failpoints.hit("start.before")
    with connection.cursor() as cursor:
        inserted = starts.insert(
            cursor,
            instance_id=request.instance_id,
            flow_id=request.flow_id,
            params=request.params,
            actor=actor,
        )
        if not inserted:
            return _not_inserted(cursor, request=request)
    failpoints.hit("start.after")
    transaction.on_commit(wake_workers)
    return _started(request)


def start_many(requests: Sequence[StartRequest], *, actor: str = "") -> list[Started | DistTaskError]:
    """One result per request, in order: the refused ones as the error that `start` would raise."""
    wanted = _first_of_each(requests)
    with transaction.atomic(), connection.cursor() as cursor:
        rows = [_row(each, actor=actor) for each in wanted.values()]
        inserted = starts.insert_many(cursor, rows=rows) if rows else starts.Inserted(set(), has_rung=False)
        failpoints.hit("start_many.inserted")
        results: list[Started | DistTaskError] = []
        for request in requests:
            if request.instance_id in inserted.ids and wanted.get(request.instance_id) is request:
                results.append(_started(request))
            else:
                results.append(_result_of(partial(_checked_again, cursor, request=request)))
    if not inserted.has_rung:
        transaction.on_commit(wake_workers)
    return results


def start_gathered(asked: Sequence[tuple[StartRequest, str]]) -> list[Started | None]:
    """What several actors ask for at the same moment: one statement, one commit, and one notification after it.

    One result per (request, actor), in order. None: it is for `start` to judge. It exists already, or comes twice here,
    or its flow cannot be started. So all of it may be asked again when a connection broke and nobody knows how far it
    came. Who holds a lock on one of the ids holds up the others for a moment only: then the whole fails.
    """
    rows: dict[str, starts.NewRow] = {}
    for request, actor in asked:
        if _fits(request):
            rows.setdefault(request.instance_id, _row(request, actor=actor))
    if not rows:
        return [None] * len(asked)
    with connection.cursor() as cursor:
        inserted, has_rung = starts.insert_many(cursor, rows=list(rows.values()), most_wait_ms=MOST_WAIT_MS)
        if inserted and not has_rung:  # a worker may have become idle meanwhile, and not have seen these
            leases.notify(cursor)
    results: list[Started | None] = []
    for request, _actor in asked:
        is_started = request.instance_id in inserted and _fits(request)
        results.append(_started(request) if is_started else None)
        if is_started:
            inserted.discard(request.instance_id)
    return results


def wake_workers() -> None:
    """A hint for idle workers; without it they find the row at their next look."""
    with connection.cursor() as cursor:
        leases.notify(cursor)


def _row(request: StartRequest, *, actor: str) -> starts.NewRow:
    return starts.NewRow(request.instance_id, request.flow_id, request.params, actor)


def _first_of_each(requests: Sequence[StartRequest]) -> dict[str, StartRequest]:
    """The first well-formed request of each instance_id."""
    wanted: dict[str, StartRequest] = {}
    for request in requests:
        is_named = not isinstance(_result_of(partial(check_instance_id, request.instance_id)), DistTaskError)
        if is_named and _fits(request):
            wanted.setdefault(request.instance_id, request)
    return wanted


def _fits(request: StartRequest) -> bool:
    return not isinstance(_result_of(partial(check_params, request)), DistTaskError)


def _result_of(call: Any) -> Any:
    try:
        return call()
    except DistTaskError as error:
        return error


def _started(request: StartRequest) -> Started:
    return Started(request.instance_id, flow_id=request.flow_id, status="pending", created=True)


def _checked_again(cursor: Any, *, request: StartRequest) -> Started:
    check_instance_id(request.instance_id)
    check_params(request)
    return _not_inserted(cursor, request=request)


def _not_inserted(cursor: Any, *, request: StartRequest) -> Started:
    """It exists already, or the flow cannot be started: say which."""
    found = starts.existing(cursor, instance_id=request.instance_id, params=request.params)
    if found is None:
        raise _flow_problem(request.flow_id)
    if found.flow_id != request.flow_id or not found.same:
        raise Conflict(
            _("instance_id %(id)s is taken by a transaction of another flow or with other params")
            % {"id": request.instance_id}
        )
    return Started(request.instance_id, flow_id=found.flow_id, status=found.status, created=False)


def _flow_problem(flow_id: str) -> DistTaskError:
    flow = Flow.objects.visible().only("is_active").filter(pk=flow_id).first()
    if flow is None:
        return NotFound(_("flow_id %(id)s does not exist") % {"id": flow_id[:64]})
    return InvalidRequest(_("flow %(id)s is not active") % {"id": flow_id})
