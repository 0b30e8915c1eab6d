"""/api/v1/exceptions"""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import ApiViewSet, row_id
from dist_task.authentication import actor
from dist_task.engine import operate
from dist_task.errors import NotFound
from dist_task.problems import shown
from dist_task.wire import Reason, wire_time

from .filters import ExceptionFilter
from .models import ExceptionRecord
from .serializers import (
    AssignedException,
    Assigning,
    Completing,
    ExceptionEntry,
    FullException,
    HandledException,
    Handling,
    Retrying,
    ScheduledRetry,
    SettledException,
    Skipping,
)

ID = OpenApiParameter("id", OpenApiTypes.INT64, OpenApiParameter.PATH)


def checked_id(text: str) -> int:
    """Raises NotFound for an id that no exception can have."""
    number = row_id(text)
    if number is None:
        raise missing(text)
    return number


def missing(text: str) -> NotFound:
    return NotFound(gettext("There is no exception with the id %(id)s.") % {"id": shown(text)})


@extend_schema_view(list=extend_schema(summary="List exceptions, newest first"))
class ExceptionViewSet(ListModelMixin, ApiViewSet):
    queryset = ExceptionRecord.objects.select_related("transaction").defer("transaction__params").order_by("-id")
    serializer_class = ExceptionEntry
    filterset_class = ExceptionFilter
    permissions: ClassVar = {
        "list": "exceptions_app.view_exceptionrecord",
        "retrieve": "exceptions_app.view_exceptionrecord",
        "handle": "exceptions_app.handle_exceptionrecord",
        "retry": "exceptions_app.retry_exceptionrecord",
        "skip": "exceptions_app.skip_exceptionrecord",
        "complete": "exceptions_app.complete_exceptionrecord",
        "assign": "exceptions_app.assign_exceptionrecord",
        "comment": "exceptions_app.comment_exceptionrecord",
    }

    @extend_schema(summary="Show an exception", parameters=[ID], responses=FullException)
    def retrieve(self, request: Request, pk: str) -> Response:
        record = self.get_queryset().filter(pk=checked_id(pk)).first()
        if record is None:
            raise missing(pk)
        return Response(FullException(record).data)

    @extend_schema(
        summary="Mark an exception as handled", parameters=[ID], request=Handling, responses=HandledException
    )
    @action(detail=True, methods=["post"])
    def handle(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Handling)
        record = operate.handle_exception(checked_id(pk), actor=actor(request), **wanted)
        return Response({"exception_id": record.pk, "handled": record.handled, "resolution": record.resolution})

    @extend_schema(
        summary="Schedule the retry of an exception",
        parameters=[ID],
        request=Retrying,
        responses=ScheduledRetry,
    )
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Retrying)
        record = operate.retry_exception(
            checked_id(pk),
            actor=actor(request),
            delay_seconds=wanted.get("delay"),
            at=wanted.get("at"),
            input=wanted.get("input"),
            force=wanted["force"],
            remark=wanted["remark"],
        )
        next_at = wire_time(record.retry_next_at)
        return Response({"exception_id": record.pk, "retry_scheduled": True, "retry_next_at": next_at})

    @extend_schema(
        summary="Skip the failed task behind an exception",
        description="The flow goes on, with `output` in place of what the task would have given.",
        parameters=[ID],
        request=Skipping,
        responses=SettledException,
    )
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Skipping)
        return Response(settled(operate.skip_run(checked_id(pk), actor=actor(request), **wanted)))

    @extend_schema(
        summary="Complete by hand the task behind an exception",
        description="It was done elsewhere and gave `output`: it counts as a success, and is undone like one.",
        parameters=[ID],
        request=Completing,
        responses=SettledException,
    )
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Completing)
        return Response(settled(operate.complete_run(checked_id(pk), actor=actor(request), **wanted)))

    @extend_schema(
        summary="Say who looks after an exception", parameters=[ID], request=Assigning, responses=AssignedException
    )
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Assigning)
        record = operate.assign_exception(checked_id(pk), actor=actor(request), **wanted)
        return Response({"exception_id": record.pk, "assignee": record.assignee})

    @extend_schema(summary="Comment on an exception", parameters=[ID], request=Reason, responses=FullException)
    @action(detail=True, methods=["post"])
    def comment(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Reason)
        return Response(FullException(operate.comment_exception(checked_id(pk), actor=actor(request), **wanted)).data)


def settled(record: ExceptionRecord) -> dict[str, Any]:
    return {
        "exception_id": record.pk,
        "handled": record.handled,
        "resolution": record.resolution,
        "task_status": record.run.status,
        "instance_id": record.transaction.instance_id,
        "status": record.transaction.status,
    }
