"""/api/v1/alert-rules, /api/v1/channels and /api/v1/deliveries: to read, to test, to redeliver."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import ApiViewSet, row_id
from dist_task.authentication import actor
from dist_task.engine.alerts import verbs
from dist_task.errors import NotFound
from dist_task.problems import shown
from dist_task.wire import Remark

from .models import AlertRule, Channel, Delivery
from .serializers import AlertRuleEntry, ChannelEntry, DeliveryDetail, DeliveryEntry
from .words import DeliveryEvent, DeliveryStatus, RuleKind, RuleState

ID = OpenApiParameter("id", OpenApiTypes.INT64, OpenApiParameter.PATH)


class AlertRuleFilter(filters.FilterSet):
    state = filters.ChoiceFilter(choices=RuleState.choices)
    kind = filters.ChoiceFilter(choices=RuleKind.choices)

    class Meta:
        model = AlertRule
        fields = ()


class DeliveryFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=DeliveryStatus.choices)
    event = filters.ChoiceFilter(choices=DeliveryEvent.choices)
    channel = filters.CharFilter(method="by_channel", max_length=64, help_text="The name of a channel.")

    class Meta:
        model = Delivery
        fields = ()

    def by_channel(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        """By its id, which an index has: a join by name would read the history."""
        found = Channel.objects.filter(name=value).values_list("pk", flat=True).first()
        return queryset.none() if found is None else queryset.filter(channel_id=found)


class RowViewSet(ListModelMixin, ApiViewSet):
    def row(self, text: str) -> Any:
        """Raises NotFound, for an id that nothing can have as well."""
        number = row_id(text)
        found = None if number is None else self.get_queryset().filter(pk=number).first()
        if found is None:
            raise NotFound(gettext("Nothing has the id %(id)s.") % {"id": shown(text)})
        return found


@extend_schema_view(list=extend_schema(summary="List alert rules and whether they fire"))
class AlertRuleViewSet(RowViewSet):
    queryset = AlertRule.objects.prefetch_related("channels").order_by("id")
    serializer_class = AlertRuleEntry
    filterset_class = AlertRuleFilter
    permissions: ClassVar = {"list": "alerts.view_alertrule", "retrieve": "alerts.view_alertrule"}

    @extend_schema(summary="Show an alert rule", parameters=[ID])
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(AlertRuleEntry(self.row(pk)).data)


@extend_schema_view(list=extend_schema(summary="List channels"))
class ChannelViewSet(RowViewSet):
    queryset = Channel.objects.order_by("id")
    serializer_class = ChannelEntry
    permissions: ClassVar = {"list": "alerts.view_channel", "test": "alerts.test_channel"}

    @extend_schema(summary="Send a test to a channel", parameters=[ID], request=Remark, responses=DeliveryEntry)
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Remark)
        delivery = verbs.send_test(self.row(pk).pk, actor=actor(request), remark=wanted["remark"])
        return Response(DeliveryEntry(delivery).data)


@extend_schema_view(list=extend_schema(summary="List deliveries, newest first"))
class DeliveryViewSet(RowViewSet):
    queryset = Delivery.objects.select_related("channel").order_by("-id")
    serializer_class = DeliveryEntry
    filterset_class = DeliveryFilter
    permissions: ClassVar = {
        "list": "alerts.view_delivery",
        "retrieve": "alerts.view_delivery",
        "redeliver": "alerts.redeliver_delivery",
    }

    @extend_schema(summary="Show a delivery with its log", parameters=[ID], responses=DeliveryDetail)
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(DeliveryDetail(self.row(pk)).data)

    @extend_schema(summary="Deliver again, under the same id", parameters=[ID], request=Remark, responses=DeliveryEntry)
    @action(detail=True, methods=["post"])
    def redeliver(self, request: Request, pk: str) -> Response:
        wanted = self.valid(Remark)
        delivery = verbs.redeliver(self.row(pk).pk, actor=actor(request), remark=wanted["remark"])
        return Response(DeliveryEntry(delivery).data)
