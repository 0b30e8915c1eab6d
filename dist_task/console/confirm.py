"""Operators' actions: a page that says what will happen and asks why, then a page with a result per row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dist_task.console.bulk import SMALL, batch_of_selected
from dist_task.console.display import row_link
from dist_task.engine.remarks import LONGEST_REMARK
from dist_task.errors import DistTaskError

MOST_AT_ONCE = 200


class RemarkForm(forms.Form):
    remark = forms.CharField(
        label=gettext_lazy("Remark"),
        required=False,
        max_length=LONGEST_REMARK,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text=gettext_lazy("Why. It is kept in the log with your name."),
    )


class ReasonForm(RemarkForm):
    """Of a verb that has to be given a reason."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["remark"].required = True


class Detail(NamedTuple):
    """One of several things that a page says of a row, each in a place of its own."""

    name: str
    text: str


class Told(NamedTuple):
    """What the page says of a row before the verb is done.

    `seen`: what of the row it shows and the verb is about; it comes back among the values, so that nothing else is done
    than what somebody has looked at.
    """

    text: str
    seen: str = ""
    details: Sequence[Detail] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb over some rows; its form asks for a reason, unless it says otherwise. `apply` takes a row and the form's
    values, and answers with a sentence. `describe` says something about each of the rows.
    """

    action: str
    title: Any
    consequence: Any
    apply: Callable[[HttpRequest, Model, dict[str, Any]], str]
    describe: Callable[[Sequence[Any]], Sequence[Told]]
    form: type[forms.Form] = ReasonForm
    dangerous: bool = False


def each(describe: Callable[[Any], str]) -> Callable[[Sequence[Any]], list[Told]]:
    """Of what says something about one row, and asks nobody for it."""
    return lambda rows: [Told(describe(row)) for row in rows]


@dataclass(frozen=True, slots=True)
class RowResult:
    row: Any
    ok: bool
    sentence: str


def operate(
    model_admin: admin.ModelAdmin, *, request: HttpRequest, rows: QuerySet[Any], operation: Operation
) -> HttpResponse | None:
    """The confirmation page, and after it the results; None, with a message, where there is too much.

    Many rows become a batch, where the list has such and the person may make one.
    """
    chosen = list(rows[: MOST_AT_ONCE + 1])
    if len(chosen) > MOST_AT_ONCE:
        text = _("At most %(most)d rows at once: narrow the filter.") % {"most": MOST_AT_ONCE}
        model_admin.message_user(request, text, messages.ERROR)
        return None
    if len(chosen) > SMALL and (target := getattr(model_admin, "batch_target", "")):
        ids = [row.pk for row in chosen]
        if address := batch_of_selected(request.user, target=target, verb=operation.action, ids=ids):
            return HttpResponseRedirect(address)
    form = operation.form(request.POST if "confirmed" in request.POST else None)
    if not form.is_valid():
        return _confirmation(model_admin, request=request, rows=chosen, operation=operation, form=form)
    results = [
        _apply(request, row=row, operation=operation, values=form.cleaned_data | {"seen": _seen(request, row=row)})
        for row in chosen
    ]
    return _outcome(model_admin, request=request, operation=operation, results=results)


def _seen(request: HttpRequest, *, row: Any) -> str:
    return request.POST.get(f"seen-{row.pk}", "")


def _apply(request: HttpRequest, *, row: Any, operation: Operation, values: dict[str, Any]) -> RowResult:
    try:
        return RowResult(row, True, operation.apply(request, row, values))
    except DistTaskError as error:
        return RowResult(row, False, str(error))


def _confirmation(
    model_admin: admin.ModelAdmin,
    *,
    request: HttpRequest,
    rows: Sequence[Any],
    operation: Operation,
    form: forms.Form,
) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": operation.title,
        "operation": operation,
        "heading": ngettext("%(count)d row", "%(count)d rows", len(rows)) % {"count": len(rows)},
        "rows": [(row, row_link(row), told) for row, told in zip(rows, operation.describe(rows), strict=True)],
        "form": form,
        "checkbox_name": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "admin/confirm_operation.html", context)


def _outcome(
    model_admin: admin.ModelAdmin, *, request: HttpRequest, operation: Operation, results: Sequence[RowResult]
) -> HttpResponse:
    good = sum(result.ok for result in results)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": operation.title,
        "summary": _("%(good)d done, %(bad)d refused") % {"good": good, "bad": len(results) - good},
        "results": [(result, row_link(result.row)) for result in results],
    }
    return TemplateResponse(request, "admin/operation_results.html", context)
