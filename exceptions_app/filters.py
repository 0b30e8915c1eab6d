"""The query parameters of the list of exceptions."""

from __future__ import annotations

from django.db.models import QuerySet
from django_filters import rest_framework as filters

from dist_task.api import Flag
from dist_task.states import ExceptionStatus

from .models import ExceptionQuerySet, ExceptionRecord


class ExceptionFilter(filters.FilterSet):
    handled = Flag(method="by_handled")
    status = filters.ChoiceFilter(choices=ExceptionStatus.choices)
    flow = filters.CharFilter(field_name="flow_id", max_length=16)
    flow_name = filters.CharFilter(field_name="flow__name", max_length=100)
    task = filters.CharFilter(field_name="task_id", max_length=64)
    assignee = filters.CharFilter(field_name="assignee", max_length=150)
    instance_id = filters.CharFilter(field_name="transaction__instance_id", max_length=64)

    class Meta:
        model = ExceptionRecord
        fields = ()

    def by_handled(self, queryset: ExceptionQuerySet, name: str, value: bool) -> QuerySet:
        return queryset.filter(status=ExceptionStatus.HANDLED) if value else queryset.unhandled()
