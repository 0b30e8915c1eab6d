"""Our own AdminSite: what it is called, how its pages are grouped, and what the first page says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dist_task.conf import conf
from dist_task.console.audit import audit_view
from dist_task.console.environment import environment
from dist_task.console.live import find, live_view, needs_person
from dist_task.console.second_person import awaits_you
from dist_task.console.text import plain_page
from dist_task.console.zones import in_own_zone

ADMIN_MODULES = (
    "dist_task.admin",
    "flows.admin",
    "flows.outside_admin",
    "transactions.admin",
    "exceptions_app.admin",
    "dist_task.alerts.admin",
    "dist_task.batches.admin",
    "dist_task.four_eyes.admin",
)
View = Callable[..., HttpResponse]


REQUESTS = "four_eyes.approvalrequest"


@dataclass(frozen=True, slots=True)
class Group:
    label: str
    name: Any
    models: tuple[str, ...]


GROUPS = (
    Group(
        "work",
        _("Work"),
        (
            "exceptions_app.exceptionrecord",
            "transactions.transaction",
            "batches.batch",
            REQUESTS,
            "dist_task.executionlog",
        ),
    ),
    Group(
        "definitions",
        _("Definitions"),
        ("flows.flow", "flows.taskdefinition", "flows.connection", "flows.secret"),
    ),
    Group(
        "alerts",
        _("Alerts"),
        ("alerts.alertrule", "alerts.channel", "alerts.subscription", "alerts.delivery"),
    ),
    Group("system", _("System"), ("dist_task.worker", "audit")),
    Group("access", _("Access"), ("auth.user", "auth.group")),
)


class ConsoleSite(admin.AdminSite):
    site_title = "dist_task"
    site_header = "dist_task"
    index_title = _("Overview")
    index_template = "admin/dashboard.html"
    site_url = None
    enable_nav_sidebar = False

    def get_urls(self) -> list[URLPattern | URLResolver]:
        # Only our own apps: django-q2's, knox's and axes' tables are no pages for operators.
        for module in ADMIN_MODULES:
            import_module(module)
        own = [
            path("live/", self.admin_view(live_view), name="live"),
            path("jump/", self.admin_view(self.jump), name="jump"),
            path("audit/", self.admin_view(audit_view(self)), name="audit"),
        ]
        return [*own, *super().get_urls()]

    def jump(self, request: HttpRequest) -> HttpResponse:
        """To the transaction that an id names; where none does, to those that begin like it."""
        text = request.GET.get("id", "").strip()
        if not request.user.has_perm("transactions.view_transaction"):
            raise PermissionDenied
        if found := find(text):
            task_id, pk = found
            address = reverse("admin:transactions_transaction_change", args=(pk,))
            return HttpResponseRedirect(f"{address}?{urlencode({'task': task_id})}#task" if task_id else address)
        query = urlencode({"instance_id_prefix": text[:64]})
        return HttpResponseRedirect(f"{reverse('admin:transactions_transaction_changelist')}?{query}")

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return super().admin_view(_in_plain_text(in_own_zone(self._with_pages(view))), cacheable)

    def _with_pages(self, view: View) -> View:
        """Refusals as pages of the console: beyond it, this service answers errors as JSON."""

        @wraps(view)
        def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if _has_nul(request):
                sentence = _("The address has a character that is not allowed.")
                return self.refusal(request, status=400, sentence=sentence)
            try:
                return view(request, *args, **kwargs)
            except PermissionDenied as error:
                return self.refusal(request, status=403, sentence=str(error) or _("You may not see or do this."))
            except Http404:
                return self.refusal(request, status=404, sentence=_("There is nothing at this address."))

        return inner

    def refusal(self, request: HttpRequest, *, status: int, sentence: Any) -> TemplateResponse:
        title = _("Not found") if status == 404 else _("Not allowed")
        context = {**self.each_context(request), "title": title, "sentence": sentence}
        return TemplateResponse(request, "admin/refusal.html", context, status=status)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        context["environment"] = environment()
        context["zone"] = timezone.get_current_timezone_name()
        if context["has_permission"]:
            context["needs_person"] = needs_person(request.user)
            context["awaits_you"] = awaits_you(request.user)
        return context

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        apps = super().get_app_list(request, app_label)
        if app_label:
            return apps
        pages = {model["model"]._meta.label_lower: model for app in apps for model in app["models"]}
        if request.user.has_perm("dist_task.view_executionlog"):
            pages["audit"] = {"name": _("Audit"), "object_name": "Audit", "admin_url": reverse("admin:audit")}
        if not conf.FOUR_EYES:
            pages.pop(REQUESTS, None)
        return [entry for group in GROUPS if (entry := self._entry(group, pages))["models"]]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from dist_task.console.dashboard import dashboard  # models of all apps are ready by now

        return super().index(request, {"dashboard": dashboard(request.user), **(extra_context or {})})

    def _entry(self, group: Group, pages: dict[str, dict[str, Any]]) -> dict[str, Any]:
        models: Sequence[dict[str, Any]] = [pages[label] for label in group.models if label in pages]
        return {
            "name": group.name,
            "app_label": group.label,
            "app_url": models[0]["admin_url"] if models else "",
            "has_module_perms": True,
            "models": models,
        }


def _in_plain_text(view: View) -> View:
    """Our pages write what came from outside by `plain`; Django's own, such as a history, do not."""

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = view(request, *args, **kwargs)
        if isinstance(answer, TemplateResponse):
            answer.add_post_render_callback(_make_plain)
        return answer

    return inner


def _make_plain(answer: HttpResponse) -> None:
    answer.content = plain_page(answer.content.decode())


def _has_nul(request: HttpRequest) -> bool:
    """A filter passes it on to PostgreSQL, which knows no such character."""
    return any("\0" in value for _key, values in request.GET.lists() for value in values)


site = ConsoleSite()
