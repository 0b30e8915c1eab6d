"""The filters of the console's list of transactions: those of the API, and a few for people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django_filters import rest_framework as filters

from dist_task.console.keyset import ListFilter
from dist_task.states import CompensationStatus, TransactionStatus
from flows.models import Flow
from transactions.filters import TransactionFilter
from transactions.models import Transaction

MOVING = (("due", _("due now")), ("held", _("held by a worker")), ("later", _("due later")))
PAUSED = (("", _("all")), ("true", _("yes")), ("false", _("no")))
LONGEST_KEY, LONGEST_VALUE = 100, 200
TIME_HINT = {"placeholder": "2026-01-31T08:00", "size": 16}


class ConsoleTransactionFilter(ListFilter, TransactionFilter):
    slow = ("compensation", "payload_key", "payload_value")

    instance_id_prefix = filters.CharFilter(
        field_name="instance_id", lookup_expr="startswith", max_length=64, label=_("Instance id begins with")
    )
    status = filters.ChoiceFilter(choices=TransactionStatus.choices, label=_("status"), empty_label=_("all"))
    paused = filters.TypedChoiceFilter(choices=PAUSED, coerce=lambda word: word == "true", label=_("paused"))
    moving = filters.ChoiceFilter(choices=MOVING, label=_("work"), empty_label=_("all"), method="by_moving")
    flow_name = filters.CharFilter(method="by_flow_name", max_length=100, label=_("Flow name"))
    flow = filters.CharFilter(field_name="flow_id", max_length=16, label=_("Flow id"))
    created_after = filters.IsoDateTimeFilter(
        method="from_time", label=_("Created from"), widget=forms.TextInput(attrs=TIME_HINT)
    )
    created_before = filters.IsoDateTimeFilter(
        method="to_time", label=_("Created before"), widget=forms.TextInput(attrs=TIME_HINT)
    )
    compensation = filters.ChoiceFilter(
        choices=CompensationStatus.choices, label=_("compensation"), empty_label=_("all")
    )
    payload_key = filters.CharFilter(method="by_payload", max_length=LONGEST_KEY, label=_("Parameter"))
    payload_value = filters.CharFilter(method="passed", max_length=LONGEST_VALUE, label=_("has the value"))
    ordering = None  # type: ignore[assignment]  # the pages by key have one of their own

    class Meta:
        model = Transaction
        fields = ()

    def by_flow_name(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By ids: the planner then reads the newest of a few flows from their index."""
        return queryset.filter(flow_id__in=list(Flow.objects.filter(name=value).values_list("id", flat=True)))

    def by_moving(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        match value:
            case "due":
                return queryset.filter(owner=None, wake_at__lte=Now())
            case "held":
                return queryset.filter(owner__isnull=False)
        return queryset.filter(owner=None, wake_at__gt=Now())

    def from_time(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        return queryset.filter(created_at__gte=value).order_by("-created_at", "-id")

    def to_time(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        """In the order of the index on the time, or the newest rows would all be passed on the way."""
        return queryset.filter(created_at__lt=value).order_by("-created_at", "-id")

    def by_payload(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """`a.b` is the member `b` of the object `a`; a value counts as text and as the JSON that it reads as."""
        path = "__".join(["params", *value.split(".")])
        text = self.form.cleaned_data.get("payload_value") or ""
        if "__" in value or not all(value.split(".")):
            return queryset.none()
        if not text:
            return queryset.filter(**{f"{path}__isnull": False})
        found = Q(**{path: text})
        for number in _as_json(text):
            found |= Q(**{path: number})
        return queryset.filter(found)

    def passed(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Looked at with its key."""
        return queryset


def _as_json(text: str) -> list[Any]:
    if text in ("true", "false"):
        return [text == "true"]
    return [int(text)] if text.removeprefix("-").isdecimal() and len(text) < 19 else []
