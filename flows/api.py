"""/api/v1/flows"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import ApiViewSet, Flag
from dist_task.engine.simulate import SCENARIO_KEYS, read_scenario, simulate
from dist_task.errors import NotFound
from dist_task.problems import InvalidValue, Problem, shown

from . import register
from .models import Flow
from .serializers import (
    BriefFlow,
    ChangedFlow,
    CheckedFlow,
    CreatedFlow,
    DeletedFlow,
    FlowChange,
    FlowToCheck,
    FlowToSimulate,
    FullFlow,
    NewFlow,
    SimulatedFlow,
)

FLOW_ID = re.compile(r"[0-9A-Za-z_-]{1,16}")


class FlowFilter(filters.FilterSet):
    name = filters.CharFilter(max_length=100)
    flow_type = filters.CharFilter(max_length=50)
    is_active = Flag()

    class Meta:
        model = Flow
        fields = ("name", "flow_type", "is_active")


def find_flow(flow_id: str) -> Flow:
    """A flow that was not deleted. Raises NotFound, for an id that no flow can have as well."""
    flow = Flow.objects.visible().filter(pk=flow_id).first() if FLOW_ID.fullmatch(flow_id) else None
    if flow is None:
        raise NotFound(gettext("There is no flow with the id %(id)s.") % {"id": shown(flow_id)})
    return flow


@extend_schema_view(list=extend_schema(summary="List flows, newest first"))
class FlowViewSet(ListModelMixin, ApiViewSet):
    queryset = Flow.objects.visible().defer("definition", "task_definitions")
    serializer_class = BriefFlow
    filterset_class = FlowFilter
    takes_large_bodies = True
    checks_itself = "definition"
    query: ClassVar = {"retrieve": ("definition",)}
    permissions: ClassVar = {
        "list": "flows.view_flow",
        "retrieve": "flows.view_flow",
        "validate": "flows.view_flow",
        "simulate": "flows.view_flow",
        "create": "flows.add_flow",
        "update": "flows.change_flow",
        "activate": "flows.change_flow",
        "deactivate": "flows.change_flow",
        "destroy": "flows.delete_flow",
    }

    def get_queryset(self) -> QuerySet[Flow]:
        return super().get_queryset().order_by("-created_at", "-version", "-id")

    def after_key(self, text: str) -> str | None:
        return text if FLOW_ID.fullmatch(text) else None

    @extend_schema(summary="Register a flow, or its next version", request=NewFlow, responses=CreatedFlow)
    def create(self, request: Request) -> Response:
        flow = register.register(**self.valid(NewFlow))
        return Response(CreatedFlow(flow, context={"warnings": register.warnings_about(flow)}).data)

    @extend_schema(
        summary="Show a flow",
        responses=FullFlow,
        parameters=[
            OpenApiParameter(
                "definition",
                OpenApiTypes.STR,
                enum=["string", "object"],
                description="How the definition is answered: the JSON text (default), or the object itself.",
            )
        ],
    )
    def retrieve(self, request: Request, pk: str) -> Response:
        wanted = request.query_params.get("definition", "string")
        if wanted not in ("string", "object"):
            raise ValidationError({"definition": [gettext("Must be string or object.")]})
        return Response(FullFlow(find_flow(pk), context={"as_object": wanted == "object"}).data)

    @extend_schema(
        summary="Change a flow",
        description="A changed definition or type makes the next version, and answers that one.",
        request=FlowChange,
        responses=ChangedFlow,
    )
    def update(self, request: Request, pk: str) -> Response:
        flow = change(find_flow(pk), wanted=self.valid(FlowChange))
        return Response(ChangedFlow(flow, context={"warnings": register.warnings_about(flow)}).data)

    @extend_schema(summary="Deactivate and hide a flow", request=None, responses={200: DeletedFlow})
    def destroy(self, request: Request, pk: str) -> Response:
        flow = find_flow(pk)
        register.delete(flow)
        return Response({"id": flow.pk, "deleted": True})

    @extend_schema(
        summary="Check a definition, and change nothing",
        description="Answers 200 whether the definition is valid or not, with all its problems, else with warnings.",
        request=FlowToCheck,
        responses=CheckedFlow,
    )
    @action(detail=False, methods=["post"])
    def validate(self, request: Request) -> Response:
        return Response(CheckedFlow(register.examine(self.valid(FlowToCheck)["definition"])).data)

    @extend_schema(
        summary="Tell how a transaction would go, and run nothing",
        description="Which tasks would run in which order, how it would end, and what would be undone.",
        request=FlowToSimulate,
        responses=SimulatedFlow,
    )
    @action(detail=False, methods=["post"])
    def simulate(self, request: Request) -> Response:
        wanted = self.valid(FlowToSimulate)
        definition = register.read(wanted["definition"])
        scenario = read_scenario(definition, **{key: wanted.get(key, ()) for key in SCENARIO_KEYS})
        return Response(SimulatedFlow(simulate(definition, scenario=scenario)).data)

    @extend_schema(summary="Let a flow be started", request=None, responses=FullFlow)
    @action(detail=True, methods=["post"])
    def activate(self, request: Request, pk: str) -> Response:
        return Response(FullFlow(register.change(find_flow(pk), is_active=True)).data)

    @extend_schema(summary="Let a flow be started no more", request=None, responses=FullFlow)
    @action(detail=True, methods=["post"])
    def deactivate(self, request: Request, pk: str) -> Response:
        return Response(FullFlow(register.change(find_flow(pk), is_active=False)).data)


@transaction.atomic
def change(flow: Flow, *, wanted: dict[str, Any]) -> Flow:
    """PUT: the next version where the definition or the type changed, else the same row, changed."""
    if wanted.get("name", flow.name) != flow.name:
        hint = gettext("leave it out")
        raise InvalidValue([Problem("name", gettext("Cannot be changed; post a flow of the new name."), hint)])
    columns = {name: wanted[name] for name in ("description", "is_active") if name in wanted}
    if is_changed(flow, wanted=wanted):
        flow = register.register(
            name=flow.name,
            flow_type=wanted.get("flow_type", flow.flow_type),
            definition=wanted.get("definition", flow.definition),
            create_user=wanted.get("create_user", flow.create_user),
            description=wanted.get("description", flow.description),
        )
    return register.change(flow, **columns) if columns else flow


def is_changed(flow: Flow, *, wanted: dict[str, Any]) -> bool:
    if wanted.get("flow_type", flow.flow_type) != flow.flow_type:
        return True
    if "definition" not in wanted:
        return False
    definition = wanted["definition"]
    register.check(definition)  # before anything reads it
    text = definition if isinstance(definition, str) else register.to_text(definition)
    return not register.same_json(flow.definition, text)
