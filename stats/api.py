"""/api/v1/stats"""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import ApiViewSet, flag
from flows.api import find_flow

from . import queries


class OverviewFigures(serializers.Serializer):
    total_transactions = serializers.IntegerField()
    success_rate = serializers.FloatField(help_text="success / (success + failed); 0 when none has ended.")
    avg_duration = serializers.FloatField(help_text="Seconds from created to completed, of successful ones.")
    exceptions_today = serializers.IntegerField(help_text="Opened since midnight in the configured time zone.")


class FlowFigures(serializers.Serializer):
    flow_id = serializers.CharField()
    total_runs = serializers.IntegerField()
    success_count = serializers.IntegerField()
    failed_count = serializers.IntegerField()
    cancelled_count = serializers.IntegerField()
    success_rate = serializers.FloatField()
    avg_duration = serializers.FloatField()


class StatsViewSet(ApiViewSet):
    filter_backends = ()
    pagination_class = None
    query: ClassVar = {"flow": ("all_versions",)}
    permissions: ClassVar = {
        "overview": "transactions.view_transaction",
        "flow": "transactions.view_transaction",
    }

    @extend_schema(summary="Figures of all transactions", responses=OverviewFigures)
    @action(detail=False)
    def overview(self, request: Request) -> Response:
        found = queries.overview()
        return Response(
            {
                "total_transactions": found.totals.created,
                "success_rate": found.totals.success_rate,
                "avg_duration": found.totals.avg_duration,
                "exceptions_today": found.exceptions_today,
            }
        )

    @extend_schema(
        summary="Figures of one flow",
        responses=FlowFigures,
        parameters=[
            OpenApiParameter("flow_id", OpenApiTypes.STR, OpenApiParameter.PATH),
            OpenApiParameter("all_versions", OpenApiTypes.BOOL, description="Add up all versions of the flow's name."),
        ],
    )
    @action(detail=False, url_path="flows/(?P<flow_id>[^/]+)")
    def flow(self, request: Request, flow_id: str) -> Response:
        wanted = find_flow(flow_id)
        every = flag(request, name="all_versions")
        found = queries.of_name(wanted.name) if every else queries.of_flow(wanted.pk)
        return Response(
            {
                "flow_id": wanted.pk,
                "total_runs": found.created,
                "success_count": found.succeeded,
                "failed_count": found.failed,
                "cancelled_count": found.cancelled,
                "success_rate": found.success_rate,
                "avg_duration": found.avg_duration,
            }
        )
