"""Is it alive, and should it get work? Open to everybody, since whoever asks has no token."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.utils.translation import gettext
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from dist_task.api import check_query
from dist_task.conf import conf
from dist_task.database import is_unreachable
from dist_task.envelope import ServiceUnavailable

CHECKS = """
    SELECT (SELECT COUNT(*) FROM dist_task_worker WHERE lease_until > clock_timestamp()),
           (SELECT EXTRACT(EPOCH FROM clock_timestamp() - MIN(wake_at)) FROM transactions_transaction
            WHERE wake_at <= clock_timestamp() AND owner IS NULL)
"""


class Health(serializers.Serializer):
    status = serializers.CharField()


class Readiness(Health):
    checks = serializers.DictField()


class OpenView(APIView):
    authentication_classes = ()
    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, allowed=set())


class HealthView(OpenView):
    @extend_schema(summary="The service answers, and reaches its database", responses=Health, auth=[])
    def get(self, request: Request) -> Response:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return Response({"status": "ok"})


class LiveView(OpenView):
    @extend_schema(summary="The process answers", responses=Health, auth=[])
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(OpenView):
    @extend_schema(summary="Database, cluster and due work are in order", responses=Readiness, auth=[])
    def get(self, request: Request) -> Response:
        checks, reasons = look()
        if reasons:
            raise ServiceUnavailable("; ".join(reasons), data={"reasons": reasons, "checks": checks})
        return Response({"status": "ok", "checks": checks})


def look() -> tuple[dict[str, Any], list[str]]:
    """What was found, and what is wrong with it."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(CHECKS)
            workers, age = cursor.fetchone()
    except Exception as error:
        if not is_unreachable(error):
            raise
        return {"database": False}, [gettext("The database cannot be reached.")]
    oldest = round(float(age or 0), 3)
    reasons = []
    if not workers:
        reasons.append(gettext("No worker of a cluster has a valid lease."))
    if oldest > conf.READY_OLDEST_DUE_SECONDS:
        text = gettext("Work has been due for %(seconds)d seconds; at most %(most)d are in order.")
        reasons.append(text % {"seconds": oldest, "most": conf.READY_OLDEST_DUE_SECONDS})
    return {"database": True, "workers": workers, "oldest_due_seconds": oldest}, reasons
