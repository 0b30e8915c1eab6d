"""Flows and task definitions in the console."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.display import badge, json_block, moment, short
from dist_task.console.rows import BoundedAdmin, TabFilter
from flows.forms import FlowForm, RegisterFlowForm, TaskDefinitionForm
from flows.models import Flow, TaskDefinition
from flows.pages import difference_page, flow_page
from flows.start_page import start_page


class ShownTabs(TabFilter):
    title = _("flows")
    parameter_name = "shown"
    default = "visible"
    tabs = (
        ("visible", _("in use")),
        ("inactive", _("inactive")),
        ("deleted", _("deleted")),
        ("all", _("all")),
    )

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "visible":
                return queryset.visible()
            case "inactive":
                return queryset.visible().filter(is_active=False)
            case "deleted":
                return queryset.exclude(deleted_at=None)
        return queryset


@admin.register(Flow, site=site)
class FlowAdmin(BoundedAdmin):
    list_display = ("name", "version", "flow_type", "active", "about", "created")
    list_filter = (ShownTabs,)
    search_fields = ("name__istartswith", "id__exact")
    search_help_text = _("The beginning of a name, or an id")
    ordering = ("-created_at", "-version")
    sortable_by = ()
    actions = ("activate", "deactivate")
    change_form_template = "admin/flow.html"
    readonly_fields = ("id", "version", "create_user", "created", "updated", "text", "pinned")

    def has_delete_permission(self, request: HttpRequest, obj: Flow | None = None) -> bool:
        return False  # a version that ran stays for the transactions that ran it

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("definition", "task_definitions")

    def get_form(self, request: HttpRequest, obj: Flow | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change=change, **{**kwargs, "form": FlowForm})
        form: Any = super().get_form(request, obj, change=change, **{**kwargs, "form": RegisterFlowForm})
        form.create_user = request.user.get_username()
        return form

    def get_fields(self, request: HttpRequest, obj: Flow | None = None) -> Any:
        if obj is None:
            return RegisterFlowForm.Meta.fields
        head = (("name", "version", "flow_type"), "id", ("create_user", "created", "updated"))
        return (*head, "description", "is_active", "text", "pinned")

    def get_fieldsets(self, request: HttpRequest, obj: Flow | None = None) -> Any:
        """The drawing says most of what the definition does, so that comes folded."""
        fields = list(self.get_fields(request, obj))
        if obj is None:
            return [(None, {"fields": fields})]
        folded = {"fields": fields[-2:], "classes": ("collapse",)}
        return [(None, {"fields": fields[:-2]}), (_("definition"), folded)]

    def get_readonly_fields(self, request: HttpRequest, obj: Flow | None = None) -> Any:
        return () if obj is None else (*self.readonly_fields, "name", "flow_type")

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Flow:
        return super().save_form(request, form, change) if change else form.registered

    def save_model(self, request: HttpRequest, obj: Flow, form: Any, change: bool) -> None:
        if change:  # a new one was registered by its form
            obj.updated_at = Now()
            obj.save(update_fields=["description", "is_active", "updated_at"])
            obj.refresh_from_db(fields=["updated_at"])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        if change:
            super().save_related(request, form, formsets, change)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        flow = self.get_object(request, object_id) if self.has_view_permission(request) else None
        extra = flow_page(flow) if flow else {}
        extra["can_start"] = bool(
            flow and flow.is_active and not flow.deleted_at and self.has_start_permission(request)
        )
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.difference_view)
        start = self.admin_site.admin_view(self.start_view)
        return [
            path("<str:flow_id>/difference/", view, name="flow_difference"),
            path("<str:flow_id>/start/", start, name="flow_start"),
            *super().get_urls(),
        ]

    def has_start_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.add_transaction")

    def start_view(self, request: HttpRequest, flow_id: str) -> HttpResponse:
        """`?like=ID`: a transaction whose params the form begins with."""
        flow = get_object_or_404(Flow.objects.visible(), pk=flow_id[:16])
        if not self.has_view_permission(request, flow) or not self.has_start_permission(request):
            raise PermissionDenied
        return start_page(self, request=request, flow=flow)

    def difference_view(self, request: HttpRequest, flow_id: str) -> HttpResponse:
        """`?from=ID`: the version to compare with; without it the one before."""
        flow = get_object_or_404(Flow, pk=flow_id[:16])
        if not self.has_view_permission(request, flow):
            raise PermissionDenied
        versions = Flow.objects.filter(name=flow.name).exclude(pk=flow.pk)
        if "from" in request.GET:
            other = get_object_or_404(versions, pk=request.GET["from"][:16])
        else:
            other = versions.filter(version__lt=flow.version).order_by("-version").first() or flow
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("From %(before)s to %(after)s") % {"before": other, "after": flow},
            **difference_page(flow, other=other),
        }
        return TemplateResponse(request, "admin/flow_difference.html", context)

    @admin.display(description=_("active"))
    def active(self, flow: Flow) -> str:
        if flow.deleted_at:
            return badge("cancelled", word=gettext("deleted"))
        return badge("yes", word=gettext("active")) if flow.is_active else badge("no", word=gettext("inactive"))

    @admin.display(description=_("description"))
    def about(self, flow: Flow) -> str:
        return short(flow.description, length=60)

    @admin.display(description=_("created at"))
    def created(self, flow: Flow) -> str:
        return moment(flow.created_at)

    @admin.display(description=_("updated at"))
    def updated(self, flow: Flow) -> str:
        return moment(flow.updated_at)

    @admin.display(description=_("definition"))
    def text(self, flow: Flow) -> str:
        try:
            return json_block(json.loads(flow.definition))
        except ValueError:
            return format_html("<pre>{}</pre>", flow.definition[:10_000])

    @admin.display(description=_("pinned task definitions"))
    def pinned(self, flow: Flow) -> str:
        return json_block(flow.task_definitions or None)

    @admin.action(description=_("Activate"), permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._switch(request, rows=queryset, is_active=True)

    @admin.action(description=_("Deactivate"), permissions=["change"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._switch(request, rows=queryset, is_active=False)

    def _switch(self, request: HttpRequest, *, rows: QuerySet[Any], is_active: bool) -> None:
        changed = list(rows.filter(deleted_at=None).exclude(is_active=is_active))
        Flow.objects.filter(pk__in=[flow.pk for flow in changed]).update(is_active=is_active, updated_at=Now())
        for flow in changed:
            self.log_change(request, flow, "activated" if is_active else "deactivated")
        text = ngettext("%(n)d flow changed", "%(n)d flows changed", len(changed)) % {"n": len(changed)}
        self.message_user(request, text, messages.SUCCESS if changed else messages.WARNING)


@admin.register(TaskDefinition, site=site)
class TaskDefinitionAdmin(BoundedAdmin):
    form = TaskDefinitionForm
    list_display = ("name", "type", "description", "runbook", "updated")
    list_filter = ("type",)
    search_fields = ("name__istartswith",)
    search_help_text = _("The beginning of a name")
    ordering = ("name",)

    @admin.display(description=_("updated at"), ordering="updated_at")
    def updated(self, entry: TaskDefinition) -> str:
        return moment(entry.updated_at)

    @admin.display(description=_("runbook"))
    def runbook(self, entry: TaskDefinition) -> str:
        if not entry.runbook_url.startswith(("http://", "https://")):
            return ""
        return format_html('<a href="{}" rel="noreferrer">{}</a>', entry.runbook_url, gettext("runbook"))
