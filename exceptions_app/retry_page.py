"""One exception's task retried with another input, or at a time: asked for, shown as it would be, then done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dist_task.console.changes import Changes, bytes_in_page, canonical, changes
from dist_task.console.confirm import ReasonForm
from dist_task.console.display import span
from dist_task.console.zones import zone_named
from dist_task.engine import operate as verbs
from dist_task.errors import DistTaskError
from dist_task.models import TaskRun
from dist_task.problems import InvalidValue
from exceptions_app.models import ExceptionRecord
from exceptions_app.operations import scheduled
from flows.forms import CODE, StrictJSONField

LONGEST_INPUT = 40_000
"""Bytes that an input takes in the page, whose form has it; the API takes larger ones."""
MOST_DAYS = verbs.LONGEST_DELAY_SECONDS // 86_400


class RetryOneForm(ReasonForm):
    """`before`: the input that the task has. `zone`: of the person, as far as the browser says it."""

    input = StrictJSONField(
        label=gettext_lazy("Input"),
        required=False,
        widget=CODE,
        help_text=gettext_lazy(
            "What the task is given from now on, as a JSON object. Its Idempotency-Key stays the same: "
            "another input is for a call that was not done."
        ),
    )
    delay_seconds = forms.FloatField(
        label=gettext_lazy("Delay in seconds"),
        required=False,
        min_value=0,
        max_value=verbs.LONGEST_DELAY_SECONDS,
        help_text=gettext_lazy("Empty: the interval of the task's retry policy. 0: now."),
    )
    at = forms.DateTimeField(
        label=gettext_lazy("Or at a time"),
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    force = forms.BooleanField(
        label=gettext_lazy("Even so"),
        required=False,
        help_text=gettext_lazy(
            "Also a task that is never to be retried, and another input where the task may have been executed."
        ),
    )
    zone = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput(attrs={"data-zone": ""}))
    field_order = ("input", "delay_seconds", "at", "force", "remark", "zone")

    def __init__(self, *args: Any, before: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = before
        text = "" if before is None else json.dumps(before, indent=2, ensure_ascii=False)
        self.is_editable = bytes_in_page(text) <= LONGEST_INPUT
        if self.is_editable:
            self.fields["input"].initial = InvalidJSONInput(text)  # shown as it is written
            self.fields["input"].widget.attrs["rows"] = min(max(text.count("\n") + 3, 6), 24)
        else:
            del self.fields["input"]
        self.time_zone = zone_named(self.data.get("zone", "")) or timezone.get_current_timezone()
        self.fields["at"].help_text = format_html(
            _("Within the next {days} days, in the time zone {zone}."),
            days=MOST_DAYS,
            zone=format_html("<span data-zone-name>{}</span>", self.time_zone),
        )

    def full_clean(self) -> None:
        with timezone.override(self.time_zone):
            super().full_clean()

    def clean_input(self) -> dict[str, Any] | None:
        value = self.cleaned_data["input"]
        if value is None and self.before is None:
            return None
        if not isinstance(value, dict):
            raise forms.ValidationError(_("must be an object"))
        if bytes_in_page(self.data.get("input", "")) > LONGEST_INPUT:
            raise forms.ValidationError(_("is too large for this page: give it over the API"))
        return value if canonical(value) != canonical(self.before) else None

    def clean_at(self) -> datetime | None:
        at, now = self.cleaned_data["at"], timezone.now()
        if at is None:
            return None
        if at < now:
            raise forms.ValidationError(_("This time has passed."))
        if at > now + timedelta(days=MOST_DAYS):
            raise forms.ValidationError(_("At most %(days)d days from now.") % {"days": MOST_DAYS})
        return at

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("at") and values.get("delay_seconds") is not None:
            self.add_error("at", _("Say either a delay or a time, not both."))
        return values

    @property
    def wanted(self) -> dict[str, Any]:
        """As the verb is asked for it."""
        return {name: self.cleaned_data.get(name) for name in ("input", "delay_seconds", "at", "force", "remark")}

    def refuse(self, error: DistTaskError) -> None:
        """What the verb says is said where it belongs."""
        if isinstance(error, InvalidValue) and "input" in self.fields:
            self.add_error("input", [str(problem) for problem in error.problems])
        else:
            self.add_error(None, str(error))


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a retry would do; `changes`: of the input, None where that stays as it is."""

    due: str
    changes: Changes | None


def retry_page(model_admin: admin.ModelAdmin, *, request: HttpRequest, record: ExceptionRecord) -> HttpResponse:
    form = RetryOneForm(request.POST if request.method == "POST" else None, before=record.run.input)
    outlook = None
    if form.is_bound and "again" not in request.POST and form.is_valid():
        try:
            if "confirmed" in request.POST:
                return _done(model_admin, request=request, record=record, form=form)
            outlook = _outlook(record, form=form, actor=request.user.get_username())
        except DistTaskError as error:
            form.refuse(error)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Retry with another input, or at a time"),
        "record": record,
        "form": form,
        "outlook": outlook,
        "seen": verbs.seen_of(record),
    }
    return TemplateResponse(request, "admin/exception_retry.html", context)


def _done(
    model_admin: admin.ModelAdmin, *, request: HttpRequest, record: ExceptionRecord, form: RetryOneForm
) -> HttpResponse:
    """What the page has shown, and nothing that came after."""
    actor, seen = request.user.get_username(), request.POST.get("seen", "")
    after = verbs.retry_exception(record.pk, actor=actor, seen=seen, **form.wanted)
    model_admin.message_user(request, scheduled(after, zone=form.time_zone), messages.SUCCESS)
    return HttpResponseRedirect(reverse("admin:exceptions_app_exceptionrecord_change", args=(record.pk,)))


def _outlook(record: ExceptionRecord, *, form: RetryOneForm, actor: str) -> Outlook:
    """By the verb itself, whose changes are rolled back. Raises what it refuses."""
    with transaction.atomic():
        due_at = verbs.retry_exception(record.pk, actor=actor, **form.wanted).retry_next_at
        given = TaskRun.objects.values_list("input", flat=True).get(pk=record.run_id)
        transaction.set_rollback(True)
    is_changed = form.cleaned_data.get("input") is not None
    due = _due(due_at, zone=form.time_zone) if due_at else ""
    return Outlook(due, changes(form.before, given) if is_changed else None)


def _due(at: datetime, *, zone: tzinfo) -> str:
    left = at - timezone.now()
    if left < timedelta(seconds=1):
        return _("It runs at once.")
    words = {"time": f"{timezone.localtime(at, zone):%Y-%m-%d %H:%M:%S}", "zone": zone, "left": span(left)}
    return _("It runs at %(time)s (%(zone)s), in %(left)s.") % words
