"""Batches in the console: asked for with a preview, followed, paused, resumed, cancelled, and exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import Field
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.bulk import may_in_bulk
from dist_task.console.confirm import Operation, each, operate
from dist_task.console.display import badge, moment, short
from dist_task.console.keyset import whole
from dist_task.console.live import batch_etag, needs_person
from dist_task.console.rows import EngineRowAdmin, TabFilter
from dist_task.engine.batches import verbs
from dist_task.engine.batches.preview import counted, preview
from dist_task.engine.batches.table import VERBS
from dist_task.errors import InvalidRequest
from exceptions_app import operations as of_exceptions
from transactions import operations as of_transactions

from .api import csv_of, items_of
from .forms import BatchForm
from .models import Batch
from .pages import MINI, bar, batch_page, chosen_rows, preview_page, request_of
from .words import BatchStatus, ItemStatus, Target

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("exceptions", "retry"): of_exceptions.RETRY,
    ("exceptions", "handle"): of_exceptions.HANDLE,
    ("exceptions", "skip"): of_exceptions.SKIP,
    ("exceptions", "complete"): of_exceptions.COMPLETE,
    ("exceptions", "assign"): of_exceptions.ASSIGN,
    ("exceptions", "comment"): of_exceptions.COMMENT,
    ("transactions", "retry"): of_transactions.RETRY,
    ("transactions", "pause"): of_transactions.PAUSE,
    ("transactions", "resume"): of_transactions.RESUME,
    ("transactions", "cancel"): of_transactions.CANCEL,
    ("transactions", "compensate"): of_transactions.COMPENSATE,
    ("transactions", "rerun"): of_transactions.RERUN,
}
"""What the verbs are called and what they do, in the words of the pages for a few rows."""
SYMBOL_OF = {
    "awaiting": "waiting",
    "running": "running",
    "paused": "waiting",
    "cancelled": "cancelled",
    "done": "success",
}


def title_of(target: str, verb: str) -> str:
    operation = OPERATIONS.get((target, verb))
    return str(operation.title) if operation else f"{verb} ({Target(target).label})"


def _fields_of(target: str, verb: str) -> dict[str, Field]:
    """By their names on the wire: what the verb's page for a few rows asks besides the remark."""
    fields = OPERATIONS[target, verb].form.base_fields
    return {name: fields[keyword] for name, keyword in VERBS[target, verb].parameters.items()}


def _seen_rows(request: HttpRequest, *, target: str) -> tuple[QuerySet[Any], dict[str, Any]]:
    """As `chosen_rows`, of what the page has counted: what matches since then is neither tried nor done."""
    rows, selection = chosen_rows(request, target=target)
    if (newest := whole(request.POST.get("newest"))) is not None:
        rows = rows.filter(pk__lte=newest)
    return rows, selection


def _steered(request: HttpRequest, batch: Any, values: dict[str, Any], *, verb: Callable[..., Batch]) -> str:
    if verb is verbs.resume and not may_in_bulk(request.user, target=batch.target, verb=batch.verb):
        raise InvalidRequest(gettext("You may not take this action."))
    after = verb(batch.pk, actor=request.user.get_username(), remark=values["remark"])
    return gettext("it is %(status)s now") % {"status": after.get_status_display()}


def _progress_of(batch: Any) -> str:
    return f"{title_of(batch.target, batch.verb)}: {bar(batch, width=MINI).spoken}"


PAUSE = Operation(
    action="pause",
    title=_("Pause batches"),
    consequence=_("The item that is being done ends, and no other begins until the batch is resumed."),
    apply=partial(_steered, verb=verbs.pause),
    describe=each(_progress_of),
)
RESUME = Operation(
    action="resume",
    title=_("Resume batches"),
    consequence=_("Each batch goes on with its next item, in the name of who made it."),
    apply=partial(_steered, verb=verbs.resume),
    describe=each(_progress_of),
)
CANCEL = Operation(
    action="cancel",
    title=_("Cancel batches"),
    consequence=_("What has been done stays done. Items that have not begun are left as they are, for good."),
    apply=partial(_steered, verb=verbs.cancel),
    describe=each(_progress_of),
    dangerous=True,
)


class BatchTabs(TabFilter):
    title = _("status")
    parameter_name = "status"
    default = "all"
    tabs = (("all", _("all")), *BatchStatus.choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() == "all" else queryset.filter(status=self.value())


@admin.register(Batch, site=site)
class BatchAdmin(EngineRowAdmin):
    change_form_template = "admin/batch.html"
    change_list_template = "admin/batch_list.html"
    list_display = ("number", "state", "what", "progress", "why", "who", "created")
    list_display_links = ("number",)
    list_filter = (BatchTabs,)
    ordering = ("-id",)
    sortable_by = ()
    actions = ("pause", "resume", "cancel")

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("batches.change_batch")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("new/<str:target>/<str:verb>/", view(self.new_view), name="batch_new"),
            path("<int:pk>/export/", view(self.export_view), name="batch_export"),
            *super().get_urls(),
        ]

    def new_view(self, request: HttpRequest, target: str, verb: str) -> HttpResponse:
        """How many rows match; when that is asked for, what would happen to a few; then, with a remark, it does."""
        if (target, verb) not in VERBS:
            raise Http404
        if not may_in_bulk(request.user, target=target, verb=verb):
            raise PermissionDenied(gettext("You may not take this action."))
        is_trial, by = "try" in request.POST, VERBS[target, verb]
        form = BatchForm(request.POST or None, asked=_fields_of(target, verb), is_trial=is_trial)
        is_right = form.is_valid()
        context: dict[str, Any] = {"form": form, "operation": OPERATIONS.get((target, verb))}
        context |= {"is_only_asked_for": verbs.is_only_asked_for(by), "tries_at_once": not (by.required or is_trial)}
        try:
            if is_right and not is_trial:
                return HttpResponseRedirect(self._create(request, target=target, verb=verb, form=form))
            rows, context["selection"] = _seen_rows(request, target=target)
            actor = request.user.get_username()
            tried = partial(preview, verb=verb, parameters=form.parameters, actor=actor) if is_right else counted
            context |= preview_page(tried(rows, target=target), target=target)
        except InvalidRequest as error:
            context["refusal"] = str(error)
        context |= {**self.admin_site.each_context(request), "opts": self.opts, "title": title_of(target, verb)}
        return TemplateResponse(request, "admin/batch_new.html", context)

    def _create(self, request: HttpRequest, *, target: str, verb: str, form: BatchForm) -> str:
        rows, selection = _seen_rows(request, target=target)
        batch = verbs.create(
            rows,
            target=target,
            verb=verb,
            parameters=form.parameters,
            selection=selection,
            remark=form.cleaned_data["remark"],
            rate=form.cleaned_data["rate"],
            actor=request.user.get_username(),
        )
        return reverse("admin:batches_batch_change", args=(batch.pk,))

    def export_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        batch = Batch.objects.filter(pk=pk).first() if pk < 2**63 else None
        if batch is None or request.GET.get("status", "done") not in ItemStatus.values:
            raise Http404
        return csv_of(batch, items=items_of(batch, request=request))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        batch = self.get_object(request, object_id) if self.has_view_permission(request) else None
        extra: dict[str, Any] = {"can_steer": self.has_steer_permission(request)}
        if batch:
            extra |= {**batch_page(batch, request=request), "what": title_of(batch.target, batch.verb)}
            extra["badge"] = self.state(batch)
            extra["approval_request"] = request_of(batch)
            extra["live_etag"] = batch_etag(batch, needs_person=needs_person(request.user))
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    @admin.action(description=_("Pause…"), permissions=["steer"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=PAUSE)

    @admin.action(description=_("Resume…"), permissions=["steer"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=RESUME)

    @admin.action(description=_("Cancel…"), permissions=["steer"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return operate(self, request=request, rows=queryset, operation=CANCEL)

    @admin.display(description=_("batch"))
    def number(self, batch: Batch) -> str:
        return str(batch)

    @admin.display(description=_("status"))
    def state(self, batch: Batch) -> str:
        return badge(SYMBOL_OF[batch.status], word=batch.get_status_display())

    @admin.display(description=_("what"))
    def what(self, batch: Batch) -> str:
        return title_of(batch.target, batch.verb)

    @admin.display(description=_("progress"))
    def progress(self, batch: Batch) -> SafeString:
        return render_to_string("admin/batch_bar.html", {"bar": bar(batch, width=MINI), "batch": batch})

    @admin.display(description=_("remark"))
    def why(self, batch: Batch) -> str:
        return short(batch.remark, 80)

    @admin.display(description=_("created by"))
    def who(self, batch: Batch) -> str:
        return short(batch.created_by, 40)

    @admin.display(description=_("created at"))
    def created(self, batch: Batch) -> str:
        return moment(batch.created_at)
