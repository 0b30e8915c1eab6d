"""Workers, the log, users and their tokens in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from dist_task.console import site
from dist_task.console.display import ago, badge, json_block, moment, of_direction, row_link, short
from dist_task.console.rows import BoundedAdmin, EngineRowAdmin, TabFilter
from dist_task.console.tokens import tokens_view
from dist_task.models import ExecutionLog, Worker


class LiveTabs(TabFilter):
    title = _("workers")
    parameter_name = "live"
    default = "yes"
    tabs = (("yes", _("live")), ("no", _("gone")), ("all", _("all")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(lease_until__gt=Now())
            case "no":
                return queryset.filter(lease_until__lte=Now())
        return queryset


@admin.register(Worker, site=site)
class WorkerAdmin(EngineRowAdmin):
    list_display = ("id", "state", "cluster", "host", "pid", "lease", "seen", "since")
    list_filter = (LiveTabs,)
    sortable_by = ()
    fields = ("state", "cluster", "host", "pid", "lease", "seen", "since")
    readonly_fields = fields

    @admin.display(description=_("status"))
    def state(self, worker: Worker) -> str:
        if worker.lease_until <= timezone.now():
            return badge("cancelled", word=gettext("gone"))
        if worker.idle:
            return badge("success", word=gettext("live, idle"))
        return badge("running", word=gettext("live, working"))

    @admin.display(description=_("lease until"))
    def lease(self, worker: Worker) -> str:
        return moment(worker.lease_until)

    @admin.display(description=_("seen"))
    def seen(self, worker: Worker) -> str:
        return gettext("%(time)s ago") % {"time": ago(worker.seen_at)}

    @admin.display(description=_("started at"))
    def since(self, worker: Worker) -> str:
        return moment(worker.created_at)


@admin.register(ExecutionLog, site=site)
class ExecutionLogAdmin(EngineRowAdmin):
    list_display = ("when", "business_id", "task", "event", "attempt", "actor", "text")
    list_display_links = ("when",)
    list_filter = ("event",)
    list_select_related = ("transaction",)
    search_fields = ("transaction__instance_id__startswith",)
    search_help_text = _("The beginning of an instance id")
    ordering = ("-id",)
    sortable_by = ()
    fields = (
        ("business_id", "task", "op"),
        ("event", "attempt", "actor"),
        ("began", "when"),
        "error_code",
        "message",
        "asked",
        "answered",
        "details",
    )
    readonly_fields = ("business_id", "task", "when", "began", "asked", "answered", "details")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("transaction").defer("transaction__params")

    @admin.display(description=_("at"))
    def when(self, entry: ExecutionLog) -> str:
        return moment(entry.at)

    @admin.display(description=_("started at"))
    def began(self, entry: ExecutionLog) -> str:
        return moment(entry.started_at)

    @admin.display(description=_("instance id"))
    def business_id(self, entry: ExecutionLog) -> str:
        return row_link(entry.transaction)

    @admin.display(description=_("task"))
    def task(self, entry: ExecutionLog) -> str:
        name = of_direction(entry.task_id, entry.op)
        return name if entry.item < 0 else f"{name} [{entry.item}]"

    @admin.display(description=_("message"))
    def text(self, entry: ExecutionLog) -> str:
        return format_html("<strong>{}</strong> {}", entry.error_code, short(entry.message))

    @admin.display(description=_("request"))
    def asked(self, entry: ExecutionLog) -> str:
        return json_block(entry.request)

    @admin.display(description=_("response"))
    def answered(self, entry: ExecutionLog) -> str:
        return json_block(entry.response)

    @admin.display(description=_("detail"))
    def details(self, entry: ExecutionLog) -> str:
        return json_block(entry.detail)


@admin.register(User, site=site)
class ConsoleUserAdmin(BoundedAdmin, UserAdmin):
    """Django's own page, with the person's API tokens."""

    list_display = ("username", "email", "is_staff", "is_superuser", "is_active", "last_login", "api_tokens")
    change_form_template = "admin/user.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(tokens_view(self))
        return [path("<int:user_id>/tokens/", view, name="auth_user_tokens"), *super().get_urls()]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        """Who may edit people may give roles; only a superuser makes another one."""
        return () if request.user.is_superuser else ("is_superuser", "user_permissions")

    @admin.display(description=_("API tokens"))
    def api_tokens(self, user: User) -> str:
        return format_html('<a href="{}/tokens/">{}</a>', user.pk, gettext("API tokens"))


@admin.register(Group, site=site)
class ConsoleGroupAdmin(BoundedAdmin, GroupAdmin):
    pass
