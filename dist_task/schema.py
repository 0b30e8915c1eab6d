"""OpenAPI: the schema with the envelope around every answer, and the pages that show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from csp.constants import SELF
from csp.decorators import csp_replace
from django.utils.decorators import method_decorator
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from dist_task.api import check_query
from dist_task.envelope import EnvelopeRenderer, dump

METHODS = ("get", "post", "put", "delete")
CALLBACKS = "/api/v1/callbacks/"  # the token in the address is all that is asked for
OPEN = ("/health", "/livez", "/readyz")
ERRORS = {
    "400": "Something in the request is wrong; `message` says what, `data.errors` where.",
    "401": "No token, or one that is not valid.",
    "403": "The role does not allow this.",
    "404": "There is nothing of this id.",
    "409": "The instance_id is taken by a transaction of another flow or other params.",
    "410": "Too late: it was answered before, or nobody waits for it any more.",
    "413": "The body is larger than this service accepts.",
    "415": "The Content-Type is not application/json.",
    "500": "An internal error; `data.error_id` is in the log.",
    "503": "The database cannot be reached; try again.",
}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["code", "message", "data"],
    "properties": {
        "code": {"type": "integer", "description": "The same number as the HTTP status."},
        "message": {"type": "string"},
        "data": {"type": "object", "nullable": True, "additionalProperties": True},
    },
}


class SchemaRenderer(OpenApiJsonRenderer):
    """The schema is the one answer without an envelope; errors have theirs."""

    media_type = "application/json"

    def render(self, data: Any, media_type: str | None = None, renderer_context: Any = None) -> bytes:
        response = (renderer_context or {}).get("response")
        if response is not None and response.exception:
            return dump(data)
        return super().render(data, media_type, renderer_context)


class SchemaView(SpectacularAPIView):
    renderer_classes = [SchemaRenderer]
    permissions: ClassVar = {"get": "transactions.view_transaction"}
    action = "get"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        check_query(request, allowed=set())
        return super().get(request, *args, **kwargs)


# Swagger UI makes style attributes and data: images at run time; its scripts are files, so they need nothing.
DOCS_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "style-src": [SELF, "'unsafe-inline'"],
        "img-src": [SELF, "data:"],
        "frame-ancestors": ["'none'"],
    }
}


@method_decorator(csp_replace(DOCS_POLICY["DIRECTIVES"]), name="dispatch")
class DocsView(SpectacularSwaggerSplitView):
    permissions: ClassVar = {"get": "transactions.view_transaction"}
    action = "get"
    url_name = "schema"
    title = "dist_task API"

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        self.request.accepted_renderer = EnvelopeRenderer()  # the page's own renderer would write HTML
        self.request.accepted_media_type = EnvelopeRenderer.media_type
        return response


# -- hooks of drf-spectacular --------------------------------------------------------------------------------


class StrictBody(OpenApiSerializerExtension):
    """What a body may not have besides, the schema says as well."""

    target_class = "dist_task.wire.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> Any:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


def without_slashes(endpoints: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The tolerated trailing slash is no part of the contract."""
    return [(path.rstrip("/"), *rest) for path, *rest in endpoints]


def with_envelope(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    schemas = result["components"].setdefault("schemas", {})
    schemas["Error"] = ERROR_SCHEMA
    for path, operations in result["paths"].items():
        for method in METHODS:
            if method in operations:
                wrap(operations[method], path=path)
    return result


def wrap(operation: dict[str, Any], *, path: str) -> None:
    (success,) = operation["responses"].values()
    for media in success["content"].values():
        media["schema"] = enveloped(media["schema"])
    operation["responses"] = {"200": success}  # whatever the method: 201 and 204 are not spoken here
    for code in errors_of(operation, path=path):
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        operation["responses"][code] = {"description": ERRORS[code], "content": content}


def enveloped(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["code", "message", "data"],
        "properties": {
            "code": {"type": "integer", "enum": [0]},
            "message": {"type": "string", "enum": ["success"]},
            "data": data,
        },
    }


def errors_of(operation: Mapping[str, Any], *, path: str) -> list[str]:
    codes = {"400", "500", "503"}
    if path not in OPEN:
        codes |= {"401", "403"}
    if path.startswith(CALLBACKS):
        codes |= {"410"}
        codes -= {"401", "403"}
    if "{" in path or path == "/api/v1/transactions":
        codes.add("404")
    if "requestBody" in operation:
        codes |= {"413", "415"}
    if operation["operationId"] == "transactions_create":
        codes.add("409")
    return sorted(codes)
