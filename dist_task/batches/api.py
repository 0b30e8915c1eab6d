"""/api/v1/batches: a verb over many rows, worked off by the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.translation import gettext
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import ApiViewSet, row_id
from dist_task.authentication import actor
from dist_task.engine.batches import verbs
from dist_task.engine.batches.preview import Preview, preview
from dist_task.engine.batches.table import find
from dist_task.errors import InvalidRequest, NotFound
from dist_task.problems import InvalidValue, Problem, shown
from dist_task.wire import Reason

from .export import as_csv
from .models import Batch, BatchItem
from .selection import API_FILTERS, matching, named
from .serializers import BatchBrief, BatchDetail, BatchItemEntry, MadeBatch, NewBatch
from .words import BatchStatus, ItemStatus, Target

ID = OpenApiParameter("id", OpenApiTypes.INT64, OpenApiParameter.PATH)
RESULT = OpenApiParameter("status", OpenApiTypes.STR, enum=ItemStatus.values)
COLUMNS = ("id", "target_id", "name", "status", "message", "at")
STEER, VIEW = "batches.change_batch", "batches.view_batch"


class BatchFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=BatchStatus.choices)
    target = filters.ChoiceFilter(choices=Target.choices)
    created_by = filters.CharFilter(max_length=150)

    class Meta:
        model = Batch
        fields = ()


@extend_schema_view(list=extend_schema(summary="List batches, newest first"))
class BatchViewSet(ListModelMixin, ApiViewSet):
    queryset = Batch.objects.order_by("-id")
    serializer_class = BatchBrief
    filterset_class = BatchFilter
    paged: ClassVar = ("list", "items")
    query: ClassVar = {"items": ("status",), "export": ("status",)}
    permissions: ClassVar = {
        "list": VIEW,
        "retrieve": VIEW,
        "items": VIEW,
        "export": VIEW,
        "create": "batches.add_batch",
        "pause": STEER,
        "resume": STEER,
        "cancel": STEER,
    }

    @extend_schema(
        summary="Do something with many rows, or say what would be done",
        description="Needs the permission of the single verb besides. The set of rows is frozen at once. Where the "
        "four-eyes rule is on the batch is `awaiting`, and its `request` is for a second person to decide.",
        request=NewBatch,
        responses=MadeBatch,
    )
    def create(self, request: Request) -> Response:
        wanted = self.valid(NewBatch)
        may(request, find(wanted["target"], wanted["verb"]).permission)
        rows, selection = selected(wanted)
        about = {"target": wanted["target"], "verb": wanted["verb"], "parameters": wanted.get("parameters", {})}
        if wanted["preview"]:
            found = preview(rows, actor=actor(request), **about)
            return Response({"batch": None, "preview": shown_preview(found)})
        batch = verbs.create(
            rows, selection=selection, remark=wanted["remark"], rate=wanted["rate"], actor=actor(request), **about
        )
        return Response({"batch": BatchDetail(batch).data, "preview": None})

    @extend_schema(summary="Show a batch with what people did to it", parameters=[ID], responses=BatchDetail)
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(BatchDetail(self.row(pk)).data)

    @extend_schema(
        summary="List the items of a batch with their results",
        parameters=[ID, RESULT],
        responses=BatchItemEntry(many=True),
        filters=False,
    )
    @action(detail=True, serializer_class=BatchItemEntry, filterset_class=None)
    def items(self, request: Request, pk: str) -> Response:
        page = self.paginate_queryset(items_of(self.row(pk), request=request))
        return self.get_paginated_response(BatchItemEntry(page, many=True).data)

    @extend_schema(exclude=True)  # the one answer that is no JSON
    @action(detail=True)
    def export(self, request: Request, pk: str) -> HttpResponse:
        batch = self.row(pk)
        return csv_of(batch, items=items_of(batch, request=request))

    @extend_schema(summary="Pause a batch", parameters=[ID], request=Reason, responses=BatchDetail)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        return self._steer(request, pk, verb=verbs.pause)

    @extend_schema(
        summary="Resume a paused batch",
        description="Needs the permission of the single verb besides.",
        parameters=[ID],
        request=Reason,
        responses=BatchDetail,
    )
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        batch = self.row(pk)
        may(request, find(batch.target, batch.verb).permission)
        return self._steer(request, pk, verb=verbs.resume)

    @extend_schema(
        summary="Cancel a batch", description="What was done stays done.", parameters=[ID], request=Reason,
        responses=BatchDetail,
    )  # fmt: skip
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        return self._steer(request, pk, verb=verbs.cancel)

    def _steer(self, request: Request, pk: str, *, verb: Any) -> Response:
        wanted = self.valid(Reason)
        return Response(BatchDetail(verb(self.row(pk).pk, actor=actor(request), **wanted)).data)

    def row(self, text: str) -> Batch:
        """NotFound for an id that no batch has, or can have."""
        number = row_id(text)
        found = None if number is None else Batch.objects.filter(pk=number).first()
        if found is None:
            raise NotFound(gettext("There is no batch with the id %(id)s.") % {"id": shown(text)})
        return found


def may(request: Request, permission: str) -> None:
    """Besides the view's own permission, which has let nobody through who is not to be let through at all."""
    if request.user.is_authenticated and not request.user.has_perm(permission):
        raise PermissionDenied(gettext("This needs the permission %(permission)s.") % {"permission": permission})


def selected(wanted: Mapping[str, Any]) -> tuple[QuerySet[Any], dict[str, Any]]:
    """The rows, and how they were chosen."""
    has_filter, has_ids = bool(wanted.get("filter")), "ids" in wanted
    if has_filter == has_ids:
        raise InvalidRequest(gettext("give either a filter with at least one condition, or ids"))
    if has_ids:
        return named(wanted["target"], wanted["ids"]), {"ids": len(wanted["ids"])}
    given = {name: as_query(name, value) for name, value in wanted["filter"].items()}
    return matching(wanted["target"], given, filter_of=API_FILTERS), {"filter": given}


def as_query(name: str, value: Any) -> str:
    """As it would stand in the address of the list."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or not value:
        problem = gettext("Must be a string that is not empty, true or false.")
        raise InvalidValue([Problem(f"filter.{shown(name)}", problem)])
    return value


def items_of(batch: Batch, *, request: Any) -> QuerySet[BatchItem]:
    rows = BatchItem.objects.filter(batch=batch).order_by("id")
    if (status := request.GET.get("status")) is None:
        return rows
    if status not in ItemStatus.values:
        choices = ", ".join(ItemStatus.values)
        raise ValidationError({"status": [gettext("Must be one of: %(choices)s") % {"choices": choices}]})
    return rows.filter(status=status)


def csv_of(batch: Batch, *, items: QuerySet[BatchItem]) -> HttpResponse:
    """At most 100,000 short lines."""
    text = as_csv(items.values_list(*COLUMNS).iterator(chunk_size=5_000))
    name = f'attachment; filename="batch-{batch.pk}.csv"'
    return HttpResponse(text, content_type="text/csv; charset=utf-8", headers={"Content-Disposition": name})


def shown_preview(found: Preview) -> dict[str, Any]:
    groups = [
        {
            "status": group.statuses[0],
            "second_status": group.statuses[1],
            "count": group.count,
            "tried": group.tried,
            "refused": group.refused,
            "reasons": group.reasons,
        }
        for group in found.groups
    ]
    sample = [{"target_id": row.target_id, "instance_id": row.name, "refusal": row.refusal} for row in found.sample]
    return {"count": found.count, "is_too_large": found.is_too_large, "groups": groups, "sample": sample}
