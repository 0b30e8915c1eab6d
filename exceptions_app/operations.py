"""What operators do about exceptions in the console: each verb with its form, and what the page says before."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console.confirm import Operation, ReasonForm, each
from dist_task.console.display import short
from dist_task.engine import operate as verbs
from dist_task.states import Resolution
from exceptions_app.models import ExceptionRecord
from flows.forms import SMALL_CODE, StrictJSONField


class RetryForm(ReasonForm):
    delay_seconds = forms.FloatField(
        label=_("Delay in seconds"),
        required=False,
        min_value=0,
        max_value=verbs.LONGEST_DELAY_SECONDS,
        help_text=_("Empty: the interval of the task's retry policy. 0: now."),
    )
    force = forms.BooleanField(
        label=_("Also tasks that are never to be retried"),
        required=False,
        help_text=_("The strategy no_retry says that trying again may do harm."),
    )
    field_order = ("delay_seconds", "force", "remark")


class HandleForm(ReasonForm):
    resolution = forms.ChoiceField(label=_("Resolution"), choices=Resolution.choices)
    field_order = ("resolution", "remark")


class SettleForm(ReasonForm):
    """Of a run that somebody settles instead of its service."""

    output = StrictJSONField(
        label=_("Output"),
        required=False,
        widget=SMALL_CODE,
        help_text=_("JSON that later tasks get, as if the task had given it. Empty: nothing."),
    )
    force = forms.BooleanField(
        label=_("Even so"),
        required=False,
        help_text=_("Also where the task may have been executed, or the exception was handled already."),
    )
    field_order = ("output", "force", "remark")


class AssignForm(ReasonForm):
    assignee = forms.CharField(
        label=_("Assigned to"),
        required=False,
        max_length=150,
        help_text=_("A user name. Empty: nobody."),
    )
    force = forms.BooleanField(label=_("Also what somebody else looks after"), required=False)
    field_order = ("assignee", "force", "remark")


def _error_of(record: Any) -> str:
    return f"{record.flow}: {short(record.error_code, 60)} {short(record.error_head)}"


def scheduled(record: ExceptionRecord, *, zone: tzinfo | None = None) -> str:
    """When it is retried, in the console's time zone, or in another one that is then named."""
    if record.retry_next_at is None:
        return gettext("retry scheduled")
    when = f"{timezone.localtime(record.retry_next_at, zone):%Y-%m-%d %H:%M:%S}"
    return gettext("retry scheduled for %(when)s") % {"when": f"{when} ({zone})" if zone else when}


def _retry(request: HttpRequest, record: Any, values: dict[str, Any]) -> str:
    after = verbs.retry_exception(
        record.pk,
        actor=request.user.get_username(),
        delay_seconds=values["delay_seconds"],
        force=values["force"],
        remark=values["remark"],
    )
    return scheduled(after)


def _handle(request: HttpRequest, record: Any, values: dict[str, Any]) -> str:
    actor = request.user.get_username()
    after = verbs.handle_exception(record.pk, actor=actor, remark=values["remark"], resolution=values["resolution"])
    return gettext("handled: %(resolution)s") % {"resolution": after.get_resolution_display()}


def _skip(request: HttpRequest, record: Any, values: dict[str, Any]) -> str:
    verbs.skip_run(record.pk, **_settled(request, values=values))
    return gettext("skipped; the flow goes on without it")


def _complete(request: HttpRequest, record: Any, values: dict[str, Any]) -> str:
    verbs.complete_run(record.pk, **_settled(request, values=values))
    return gettext("counts as done; the flow goes on")


def _settled(request: HttpRequest, *, values: dict[str, Any]) -> dict[str, Any]:
    given = {key: values[key] for key in ("remark", "output", "force")}
    return {"actor": request.user.get_username(), **given}


def _assign(request: HttpRequest, record: Any, values: dict[str, Any]) -> str:
    given = {key: values[key] for key in ("assignee", "remark", "force")}
    after = verbs.assign_exception(record.pk, actor=request.user.get_username(), **given)
    return gettext("assigned to %(assignee)s") % {"assignee": after.assignee or gettext("nobody")}


def _comment(request: HttpRequest, record: Any, values: dict[str, Any]) -> str:
    verbs.comment_exception(record.pk, actor=request.user.get_username(), remark=values["remark"])
    return gettext("commented")


RETRY = Operation(
    action="retry",
    title=_("Retry exceptions"),
    consequence=_(
        "The failed task of each exception runs again after the delay. If it succeeds, the exception closes "
        "itself and the transaction goes on. Handled exceptions are refused."
    ),
    apply=_retry,
    describe=each(_error_of),
    form=RetryForm,
)
HANDLE = Operation(
    action="handle",
    title=_("Handle exceptions"),
    consequence=_(
        "Each exception is closed with your remark. Nothing runs; automatic retries that are left are stopped."
    ),
    apply=_handle,
    describe=each(_error_of),
    form=HandleForm,
)
SKIP = Operation(
    action="skip",
    title=_("Skip tasks"),
    consequence=_(
        "The failed task of each exception is passed over, and its transaction goes on as if it had given this output. "
        "The task itself is not done: what depends on it has to do without."
    ),
    apply=_skip,
    describe=each(_error_of),
    form=SettleForm,
    dangerous=True,
)
COMPLETE = Operation(
    action="complete",
    title=_("Complete tasks by hand"),
    consequence=_(
        "You say that the task was done, and what it gave. It counts as a success, its transaction goes on, and a "
        "compensation undoes it."
    ),
    apply=_complete,
    describe=each(_error_of),
    form=SettleForm,
    dangerous=True,
)
ASSIGN = Operation(
    action="assign",
    title=_("Assign exceptions"),
    consequence=_("Whoever looks after an exception is named in the list, and finds it under Mine."),
    apply=_assign,
    describe=each(_error_of),
    form=AssignForm,
)
COMMENT = Operation(
    action="comment",
    title=_("Comment on exceptions"),
    consequence=_("What you write stays with the exception, for whoever looks next. Nothing runs."),
    apply=_comment,
    describe=each(_error_of),
)
