"""The base of every admin page over rows that the engine owns: to read, to filter, never to edit."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

MOST_COUNTED = 10_000


class CappedPaginator(Paginator):
    """Counts up to a cap: an exact count of tens of millions of rows is a scan that nobody reads."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if isinstance(rows, QuerySet):
            return rows.order_by()[: MOST_COUNTED + 1].count()
        return len(rows)


class TabFilter(admin.SimpleListFilter):
    """A filter that has a value even when the address names none: `default`."""

    template = "admin/tabs.html"
    default = ""
    tabs: tuple[tuple[str, Any], ...] = ()

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, Any]]:
        return list(self.tabs)

    def value(self) -> str:
        return super().value() or self.default

    def choices(self, changelist: Any) -> Any:
        for value, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: value}, remove=["p"])
            yield {"selected": self.value() == value, "query_string": query, "display": title}


class BoundedAdmin(admin.ModelAdmin):
    """A list that stays light however many rows there are."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER  # they count every choice of every filter
    empty_value_display = "–"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._check_selection(request)
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def _check_selection(self, request: HttpRequest) -> None:
        """Django hands what is no id to the database."""
        for value in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(value)
            except ValidationError as error:
                raise Http404 from error
            if "\0" in value:
                raise Http404


class EngineRowAdmin(BoundedAdmin):
    """Nobody adds, changes or deletes these here, a superuser neither: the engine's verbs do."""

    change_form_template = "admin/engine_row.html"

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Once per request: our pages look at the row before Django does."""
        known = getattr(request, "_console_row", None)
        if known is None or known[0] != (self.model, object_id, from_field):
            known = ((self.model, object_id, from_field), super().get_object(request, object_id, from_field))
            request._console_row = known  # type: ignore[attr-defined]
        return known[1]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._refuse_forbidden_action(request)
        return super().changelist_view(request, extra_context)

    def _refuse_forbidden_action(self, request: HttpRequest) -> None:
        """Django answers an action that the person may not take with the list; a refusal is clearer."""
        if request.method != "POST" or not self.has_view_permission(request):
            return
        asked = set(request.POST.getlist("action")) - {""}
        if not asked <= set(self.get_actions(request)):
            raise PermissionDenied(_("You may not take this action."))
