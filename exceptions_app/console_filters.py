"""The filters of the inbox: those of the API, and the fingerprint of a group."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from django_filters import rest_framework as filters

from dist_task.console.keyset import ListFilter
from dist_task.states import ExceptionStatus
from exceptions_app.filters import ExceptionFilter
from exceptions_app.models import ExceptionRecord
from flows.models import Flow

TABS = (
    (ExceptionStatus.OPEN.value, ExceptionStatus.OPEN.label),
    (ExceptionStatus.RETRYING.value, ExceptionStatus.RETRYING.label),
    (ExceptionStatus.HANDLED.value, ExceptionStatus.HANDLED.label),
    ("all", _("all")),
)


class ConsoleExceptionFilter(ListFilter, ExceptionFilter):
    """Without a status: those that need a person."""

    tabs = TABS
    tab_field = "status"
    slow = ("flow", "flow_name", "task", "error_code")

    status = filters.ChoiceFilter(choices=TABS, method="passed", label=_("status"))
    instance_id = filters.CharFilter(field_name="transaction__instance_id", max_length=64, label=_("Instance id"))
    flow_name = filters.CharFilter(method="by_flow_name", max_length=100, label=_("Flow name"))
    flow = filters.CharFilter(field_name="flow_id", max_length=16, label=_("Flow id"))
    task = filters.CharFilter(field_name="task_id", max_length=64, label=_("task"))
    error_code = filters.CharFilter(max_length=100, label=_("error code"))
    assignee = filters.CharFilter(max_length=150, label=_("assigned to"))
    fingerprint = filters.CharFilter(max_length=32, label=_("fingerprint"))
    handled = None  # type: ignore[assignment]  # the tabs say it

    class Meta:
        model = ExceptionRecord
        fields = ()

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        status = self.form.cleaned_data["status"] or ExceptionStatus.OPEN
        return super().filter_queryset(queryset if status == "all" else queryset.filter(status=status))

    def passed(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Looked at before the others."""
        return queryset

    def by_flow_name(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(flow_id__in=list(Flow.objects.filter(name=value).values_list("id", flat=True)))
