"""/api/v1/approval-requests: what awaits a second person."""

from __future__ import annotations

from typing import Any, ClassVar

from django.utils.translation import gettext
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import ApiViewSet, row_id
from dist_task.authentication import actor
from dist_task.engine.batches.table import COMPENSATE
from dist_task.engine.four_eyes import verbs
from dist_task.errors import NotFound
from dist_task.problems import shown
from dist_task.wire import Reason, Remark

from .detail import RequestDetail, shown_detail
from .models import ApprovalRequest
from .rights import MAKE_BATCHES, may_decide, may_decide_some, permissions_of
from .serializers import RequestEntry
from .words import Act, RequestStatus

ID = OpenApiParameter("id", OpenApiTypes.INT64, OpenApiParameter.PATH)
VIEW = "four_eyes.view_approvalrequest"
HEAVY = ("transaction__params", "batch__selection", "batch__remark")


class RequestFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=RequestStatus.choices)
    act = filters.ChoiceFilter(choices=Act.choices)
    asked_by = filters.CharFilter(max_length=150)
    instance_id = filters.CharFilter(field_name="transaction__instance_id", max_length=64)

    class Meta:
        model = ApprovalRequest
        fields = ()


@extend_schema_view(list=extend_schema(summary="List what awaits, or has met, a second person, newest first"))
class ApprovalRequestViewSet(ListModelMixin, ApiViewSet):
    """Deciding takes the permissions of what was asked for, which `_decided` looks after."""

    queryset = ApprovalRequest.objects.select_related("transaction", "batch").defer(*HEAVY).order_by("-id")
    serializer_class = RequestEntry
    filterset_class = RequestFilter
    permissions: ClassVar = {
        "list": VIEW,
        "retrieve": VIEW,
        "approve": VIEW,
        "reject": VIEW,
        "withdraw": VIEW,
    }

    @extend_schema(summary="Show a request with what approving it would do", parameters=[ID], responses=RequestDetail)
    def retrieve(self, request: Request, pk: str) -> Response:
        row = self.row(pk)
        may_try = not request.user.is_authenticated or may_decide(request.user, row)
        return Response(shown_detail(row, with_preview=may_try))

    @extend_schema(
        summary="Approve what another person has asked for",
        description="It is carried out now, in the name of who asked. Needs the permissions of what was asked for.",
        parameters=[ID],
        request=Reason,
        responses=RequestEntry,
    )
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        return self._decided(request, pk, verb=verbs.approve)

    @extend_schema(
        summary="Reject what another person has asked for",
        description="Needs the permissions of what was asked for.",
        parameters=[ID],
        request=Reason,
        responses=RequestEntry,
    )
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        return self._decided(request, pk, verb=verbs.reject)

    @extend_schema(summary="Withdraw what one has asked for", parameters=[ID], request=Remark, responses=RequestEntry)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Remark)
        return Response(RequestEntry(verbs.withdraw(self.row(pk).pk, actor=actor(request), **wanted)).data)

    def _decided(self, request: Request, pk: str, *, verb: Any) -> Response:
        if request.user.is_authenticated and not may_decide_some(request.user):
            raise _needs(COMPENSATE, MAKE_BATCHES)
        row, wanted = self.row(pk), self.valid(Reason)
        if request.user.is_authenticated and not may_decide(request.user, row):
            raise _needs(*permissions_of(row))
        return Response(RequestEntry(verb(row.pk, actor=actor(request), **wanted)).data)

    def row(self, text: str) -> ApprovalRequest:
        """NotFound for an id that no request has, or can have."""
        number = row_id(text)
        found = None if number is None else self.get_queryset().filter(pk=number).first()
        if found is None:
            raise NotFound(gettext("There is no approval request with the id %(id)s.") % {"id": shown(text)})
        return found


def _needs(*permissions: str) -> PermissionDenied:
    return PermissionDenied(
        gettext("This needs the permission %(permission)s.") % {"permission": ", ".join(permissions)}
    )
