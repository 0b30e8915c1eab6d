"""POST /api/v1/callbacks/:token: a service says that work it went on with has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dist_task.api import check_query
from dist_task.engine.operate import CALLBACK_RESULTS, FAILURE, SUCCESS, take_callback
from dist_task.engine.remarks import LONGEST_REMARK
from dist_task.errors import NotFound
from dist_task.executors.callback import run_of
from dist_task.wire import StrictSerializer, Text

from .serializers import MovedTransaction

MEMBERS = {SUCCESS: {"output"}, FAILURE: {"code", "message"}}


class Callback(StrictSerializer):
    result = serializers.ChoiceField(choices=CALLBACK_RESULTS)
    output = serializers.JSONField(required=False, allow_null=True, help_text="Of a success: the output of the task.")
    code = Text(required=False, max_length=100, single_line=True, help_text="Of a failure: the error code.")
    message = Text(required=False, allow_blank=True, max_length=LONGEST_REMARK, help_text="Of a failure.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        strays = attrs.keys() - MEMBERS.get(attrs["result"], set()) - {"result"}
        if strays:
            message = gettext("Means nothing with the result %(result)s.") % {"result": attrs["result"]}
            raise serializers.ValidationError({name: [message] for name in sorted(strays)})
        return attrs


class CallbackView(APIView):
    """The token in the address is the authentication and the permission: whoever was given it may answer, once."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(
        summary="Say how work ended that a service went on with",
        description="The token comes with each attempt, in X-Dist-Task-Callback. The first answer counts.",
        request=Callback,
        responses=MovedTransaction,
        auth=[],
    )
    def post(self, request: Request, token: str) -> Response:
        check_query(request, allowed=set())
        name = run_of(token)
        if name is None:
            raise NotFound(gettext("nobody waits for this callback"))
        answer = _checked(request.data)
        txn = take_callback(name, result=answer.pop("result"), answer=answer)
        return Response({"instance_id": txn.instance_id, "status": txn.status})


def _checked(body: Any) -> dict[str, Any]:
    serializer = Callback(data=body if isinstance(body, Mapping) else [])
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)
