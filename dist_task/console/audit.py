"""Who did what, when and why: what people have done to transactions, the newest first."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dist_task.console.keyset import whole
from dist_task.models import BY_PEOPLE, ExecutionLog, LogEvent

PAGE = 50
VERBS = tuple(
    LogEvent(event)
    for event in (
        "retried",
        "handled",
        "cancelled",
        "compensating",
        "answered",
        "skipped",
        "completed",
        "rerun",
        "paused",
        "resumed",
        "assigned",
        "commented",
        "requested",
        "approved",
        "rejected",
    )
)
HEAVY = ("request", "response", "transaction__params")


class AuditForm(forms.Form):
    actor = forms.CharField(label=gettext_lazy("Who"), required=False, max_length=150)
    verb = forms.ChoiceField(
        label=gettext_lazy("What"),
        required=False,
        choices=[("", gettext_lazy("all")), *((verb.value, verb.label) for verb in VERBS)],
    )
    day = forms.DateField(
        label=gettext_lazy("Day"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )


def audit_view(site: Any) -> Any:
    def view(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("dist_task.view_executionlog"):
            raise PermissionDenied
        form = AuditForm(request.GET)
        rows = list(_rows(form, after=whole(request.GET.get("after")))[: PAGE + 1]) if form.is_valid() else []
        query = request.GET.copy()
        if len(rows) > PAGE:
            query["after"] = str(rows[PAGE - 1].pk)
        context = {
            **site.each_context(request),
            "title": _("Audit"),
            "form": form,
            "rows": rows[:PAGE],
            "older": f"?{query.urlencode()}" if len(rows) > PAGE else "",
            "is_beyond": "after" in request.GET,
        }
        return TemplateResponse(request, "admin/audit.html", context)

    return view


def _rows(form: AuditForm, *, after: int | None) -> QuerySet[ExecutionLog]:
    """By the partial index over what people did: it is short however long the log is."""
    rows = ExecutionLog.objects.filter(BY_PEOPLE).select_related("transaction").defer(*HEAVY).order_by("-id")
    given = form.cleaned_data
    if given["actor"]:
        rows = rows.filter(actor=given["actor"])
    if given["verb"]:
        rows = rows.filter(event=given["verb"])
    if given["day"]:
        midnight = timezone.make_aware(datetime.combine(given["day"], time.min))
        rows = rows.filter(at__gte=midnight, at__lt=midnight + timedelta(days=1))
    return rows if after is None else rows.filter(pk__lt=after)
