"""Pages of lists: by number as documented, and by key (`after`) beyond the first ten thousand entries."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.utils.translation import gettext
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

DEFAULT_SIZE = 20
MOST_SIZE = 200
MOST_OFFSET = 10_000
PARAMETERS = ("page", "page_size", "after")
_INTEGER = {"type": "integer", "minimum": 1}


class EnvelopePagination(BasePagination):
    """`page` and `page_size`, or `after=<id of the last entry seen>`.

    A view says in `after_field` what its entries are called by; its querysets are ordered by columns that are
    never null, the last of which is unique.
    """

    page = 1
    page_size = DEFAULT_SIZE
    total = 0

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.page = whole(request, name="page", most=10**9, default=1)
        self.page_size = whole(request, name="page_size", most=MOST_SIZE, default=DEFAULT_SIZE)
        self.total = queryset.count()
        if "after" in request.query_params:
            return list(self.following(queryset, request=request, view=view)[: self.page_size])
        offset = (self.page - 1) * self.page_size
        if offset >= self.total:
            return []
        if offset + self.page_size > MOST_OFFSET + MOST_SIZE:
            message = gettext("Pages end at entry %(most)d; go on with after=<id of the last entry>, or use a filter.")
            raise ValidationError({"page": [message % {"most": MOST_OFFSET}]})
        return list(queryset[offset : offset + self.page_size])

    def following(self, queryset: QuerySet, *, request: Request, view: Any) -> QuerySet:
        if self.page != 1:
            raise ValidationError({"after": [gettext("Cannot be combined with page.")]})
        columns = [str(column) for column in queryset.query.order_by]
        names = [column.lstrip("-") for column in columns]
        field = getattr(view, "after_field", "pk")
        key = view.after_key(request.query_params["after"])
        last = queryset.model.objects.filter(**{field: key}).values(*names).first() if key is not None else None
        if last is None:
            raise ValidationError({"after": [gettext("Nothing has this id.")]})
        return queryset.filter(beyond(columns, last=last))

    def get_paginated_response(self, data: Any) -> Response:
        pagination = {"page": self.page, "page_size": self.page_size, "total": self.total}
        return Response({"list": data, "pagination": pagination})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        numbers = {"page": _INTEGER, "page_size": _INTEGER, "total": {"type": "integer", "minimum": 0}}
        pagination = {"type": "object", "properties": numbers, "required": list(numbers)}
        properties = {"list": schema, "pagination": pagination}
        return {"type": "object", "properties": properties, "required": ["list", "pagination"]}

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        described = (
            ("page", {**_INTEGER, "default": 1}, f"Page number; pages end at entry {MOST_OFFSET:,}."),
            ("page_size", {**_INTEGER, "maximum": MOST_SIZE, "default": DEFAULT_SIZE}, "Entries per page."),
            ("after", {"type": "string"}, "The id of the last entry seen: answers those that follow it."),
        )
        return [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            for name, schema, text in described
        ]


def whole(request: Request, *, name: str, most: int, default: int) -> int:
    """A query parameter that is a whole number from 1 to `most`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 10 and 1 <= int(text) <= most:
        return int(text)
    message = gettext("Must be a whole number from 1 to %(most)d.") % {"most": most}
    raise ValidationError({name: [message]})


def beyond(columns: list[str], *, last: dict[str, Any]) -> Q:
    """The rows that come after `last` in this order."""
    rows, same = Q(), Q()
    for column in columns:
        name = column.lstrip("-")
        side = "lt" if column.startswith("-") else "gt"
        rows |= same & Q(**{f"{name}__{side}": last[name]})
        same &= Q(**{name: last[name]})
    return rows
