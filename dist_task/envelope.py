"""The envelope of every answer: `{"code", "message", "data"}`.

Built in three places only: EnvelopeRenderer (success), exception_handler (errors inside views), and the
handlers for errors outside of them (unknown URLs, refused hosts, CSRF, crashes).
"""

from __future__ import annotations

import logging
import math
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestAborted, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.utils.translation import gettext, ngettext
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response

from dist_task import payload
from dist_task.database import is_unreachable
from dist_task.errors import Conflict, DistTaskError, Gone, InvalidRequest, NotFound
from dist_task.problems import InvalidValue, Problem, child_path, shown

logger = logging.getLogger(__name__)

JSON = "application/json"
CODES: tuple[tuple[type[DistTaskError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Gone, 410),
    (InvalidRequest, 400),
)
MOST_ERRORS = 100
QUOTED_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as the client is told it."""

    code: int
    message: str
    errors: list[dict[str, str]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        data = {**self.data, **({"errors": self.errors} if self.errors else {})}
        return {"code": self.code, "message": self.message, "data": data or None}


class ServiceUnavailable(APIException):
    """503 with what is the matter in `data`."""

    status_code = 503

    def __init__(self, message: str, *, data: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.data = data


def dump(value: Any) -> bytes:
    """JSON in UTF-8. Numbers that orjson cannot hold, and lone surrogates, take the slower, tolerant way."""
    try:
        return orjson.dumps(value, default=str)
    except (TypeError, ValueError):
        return payload.dumps(value).encode()


class EnvelopeRenderer(BaseRenderer):
    """Wraps what views answer. What exception_handler answered has its envelope already."""

    media_type = JSON
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None and response.exception:
            return dump(data)
        return dump({"code": 0, "message": "success", "data": data})


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """The REST framework's hook. None hands the error to handler500, which gives it an id."""
    failure = describe(error)
    if failure is None:
        return None
    return Response(failure.body, status=failure.code, headers=dict(failure.headers), exception=True)


def describe(error: Exception) -> Failure | None:
    """What the client is told about an error; None when it is nobody's fault but ours."""
    if is_unreachable(error):
        return database_down(error)
    if isinstance(error, DistTaskError):
        return of_ours(error)
    if isinstance(error, ValidationError):
        return invalid([Problem(place, text) for place, text in flatten(error.detail)])
    if isinstance(error, APIException):
        return of_framework(error)
    if isinstance(error, Http404):
        return Failure(404, gettext("There is nothing at this address."))
    if isinstance(error, PermissionDenied):
        return Failure(403, gettext("You do not have permission to do this."))
    if isinstance(error, RequestDataTooBig):
        return Failure(413, gettext("The body of the request is larger than this service accepts."))
    if isinstance(error, UnreadablePostError | RequestAborted):
        return Failure(400, gettext("The body of the request could not be read."))
    if isinstance(error, SuspiciousOperation):
        return Failure(400, gettext("The request is not acceptable: %(why)s") % {"why": shown(error, length=200)})
    return None


def of_ours(error: DistTaskError) -> Failure | None:
    if isinstance(error, InvalidValue):
        return invalid(error.problems)
    code = next((code for kind, code in CODES if isinstance(error, kind)), None)
    return Failure(code, str(error)) if code else None


def of_framework(error: APIException) -> Failure:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if seconds := getattr(error, "wait", None):
        headers["Retry-After"] = str(math.ceil(seconds))
    message = "; ".join(text for _place, text in flatten(error.detail))
    return Failure(error.status_code, message, headers=headers, data=getattr(error, "data", {}))


def invalid(problems: Sequence[Problem]) -> Failure:
    """400: every problem in `data`, with its hint where there is one, and the first few in the message."""
    errors = [entry_of(each) for each in problems[:MOST_ERRORS]]
    sentences = [str(each) if each.path else each.message for each in problems]
    message = "; ".join(sentences[:QUOTED_ERRORS])
    more = len(sentences) - QUOTED_ERRORS
    if more > 0:
        message += "; " + ngettext("and %(more)d more problem", "and %(more)d more problems", more) % {"more": more}
    return Failure(400, message, errors=errors)


def entry_of(problem: Problem) -> dict[str, str]:
    entry = {"field": problem.path, "message": problem.message}
    return {**entry, "hint": problem.hint} if problem.hint else entry


def flatten(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The nested details of the REST framework as pairs of place and sentence."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            yield from flatten(inner, path if key == "non_field_errors" else child_path(path, key))
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from flatten(inner, child_path(path, index) if nested else path)
    else:
        yield path, str(detail)


def database_down(error: BaseException) -> Failure:
    error_id = new_error_id()
    logger.error("error %s: the database cannot be used: %s", error_id, error)
    message = gettext("The database cannot be reached; try again. Error id: %(id)s") % {"id": error_id}
    return Failure(503, message, headers={"Retry-After": "1"}, data={"error_id": error_id})


def new_error_id() -> str:
    """What a 500 answer names instead of a trace; the log has both."""
    return secrets.token_hex(8)


def respond(failure: Failure) -> HttpResponse:
    return HttpResponse(dump(failure.body), status=failure.code, content_type=JSON, headers=dict(failure.headers))


# -- outside of views: named in urls.py and in the setting CSRF_FAILURE_VIEW ---------------------------------


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return respond(describe(Http404()) or Failure(404, ""))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    known = exception if isinstance(exception, SuspiciousOperation) else SuspiciousOperation("bad request")
    return respond(describe(known) or Failure(400, ""))


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return respond(Failure(403, gettext("You do not have permission to do this.")))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return respond(Failure(403, gettext("The CSRF check failed: %(reason)s") % {"reason": reason}))


def server_error(request: HttpRequest) -> HttpResponse:
    return once_logged(respond(crash(request)))


def crash(request: HttpRequest) -> Failure:
    """What the client is told about the error that is being handled; it is logged with the same id."""
    error = sys.exc_info()[1]
    if error is not None and is_unreachable(error):
        return database_down(error)
    error_id = new_error_id()
    logger.error("error %s: %s %s", error_id, request.method, shown(request.path, length=200), exc_info=True)
    message = gettext("An internal error happened. Error id: %(id)s") % {"id": error_id}
    return Failure(500, message, data={"error_id": error_id})


def once_logged(response: HttpResponse) -> HttpResponse:
    """Django would log the same trace again, without the id."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response
