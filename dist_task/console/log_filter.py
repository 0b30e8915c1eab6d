"""The filters of the list of log entries."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from django_filters import rest_framework as filters

from dist_task.console.keyset import ListFilter
from dist_task.models import ExecutionLog, LogEvent


class ConsoleLogFilter(ListFilter):
    slow = ("task", "event", "actor")

    instance_id = filters.CharFilter(field_name="transaction__instance_id", max_length=64, label=_("Instance id"))
    transaction = filters.NumberFilter(
        field_name="transaction_id", min_value=1, max_value=2**63 - 1, label=_("transaction")
    )
    task = filters.CharFilter(field_name="task_id", max_length=64, label=_("task"))
    event = filters.ChoiceFilter(choices=LogEvent.choices, label=_("event"), empty_label=_("all"))
    actor = filters.CharFilter(max_length=150, label=_("actor"))

    class Meta:
        model = ExecutionLog
        fields = ()
