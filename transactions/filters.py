"""The query parameters of the list of transactions."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from dist_task.api import Flag
from dist_task.states import TransactionStatus

from .models import Transaction

ORDERINGS = [(name, name) for name in ("created_at", "-created_at", "id", "-id")]


class Ordering(filters.ChoiceFilter):
    """By creation; the id decides among equals, so that pages neither repeat nor lose an entry."""

    def filter(self, queryset: QuerySet, value: Any) -> QuerySet:
        if not value:
            return queryset
        return queryset.order_by(value) if value.endswith("id") else queryset.order_by(value, tie(value))


def tie(ordering: str) -> str:
    return "-id" if ordering.startswith("-") else "id"


class TransactionFilter(filters.FilterSet):
    status = filters.ChoiceFilter(choices=TransactionStatus.choices)
    paused = Flag(field_name="paused")
    flow = filters.CharFilter(field_name="flow_id", max_length=16)
    flow_name = filters.CharFilter(field_name="flow__name", max_length=100)
    created_after = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")
    instance_id_prefix = filters.CharFilter(field_name="instance_id", lookup_expr="startswith", max_length=64)
    parent = filters.CharFilter(field_name="parent__instance_id", max_length=64)
    ordering = Ordering(choices=ORDERINGS)

    class Meta:
        model = Transaction
        fields = ()
