"""Lists of rows without number: pages by key, filters named as in the API, and bounds on what no index serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django_filters import rest_framework as filters

from dist_task.console.bulk import bulk_links
from dist_task.console.rows import EngineRowAdmin
from dist_task.paging import beyond
from dist_task.saved_views import pages as saved_views

WINDOW = 20_000
"""Rows that a filter without an index looks at: the newest ones that the other filters leave."""
MOST_COUNTED = 1_000
KEYS = ("after", "before")


class ListFilter(filters.FilterSet):
    """Filters of a list. Those named in `slow` look at the newest `WINDOW` rows only."""

    slow: ClassVar[tuple[str, ...]] = ()
    tabs: ClassVar[tuple[tuple[str, Any], ...]] = ()
    tab_field: ClassVar[str] = ""

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        values = self.form.cleaned_data
        quick = [name for name in values if name not in self.slow]
        for name in quick:
            queryset = self.filters[name].filter(queryset, values[name])
        slow = [name for name in self.slow if values.get(name) not in (None, "")]
        if slow:
            queryset = self._within_window(queryset)
        for name in slow:
            queryset = self.filters[name].filter(queryset, values[name])
        return queryset

    def _within_window(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        rows = queryset.order_by("-pk")
        if (after := whole(self.data.get("after"))) is not None:
            rows = rows.filter(pk__lt=after)
        elif (before := whole(self.data.get("before"))) is not None:
            rows = rows.filter(pk__gt=before).order_by("pk")
        return queryset.filter(pk__in=rows.values("pk")[:WINDOW])

    @property
    def window(self) -> str:
        return f"{WINDOW:,}"

    @property
    def is_slow(self) -> bool:
        return any(self.data.get(name) for name in self.slow)


def is_list(request: HttpRequest) -> bool:
    """Whether rows are read for a list, which leaves what is heavy in the database."""
    match = request.resolver_match
    return match is not None and (match.url_name or "").endswith("_changelist")


def whole(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else None


class KeysetChangeList(ChangeList):
    """Django's list with the model admin's `filterset_class`; `?after=ID` and `?before=ID` turn its pages."""

    filterset: ListFilter

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        own = {*self._filters().base_filters, *KEYS}
        return {name: value for name, value in found.items() if name not in own}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        self.filterset = self._filters()(request.GET, queryset=rows, request=request)
        return self.filterset.qs if self.filterset.is_valid() else rows.none()

    def _filters(self) -> type[ListFilter]:
        found: type[ListFilter] = self.model_admin.filterset_class  # type: ignore[attr-defined]  # a KeysetAdmin
        return found

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        rows, is_back = self._page(request)
        found = list(rows[: size + 1])
        has_more, found = len(found) > size, found[:size]
        if is_back:
            found.reverse()
        self.result_list = self.model_admin.prepared(found)  # type: ignore[attr-defined]  # a KeysetAdmin
        is_beyond = whole(request.GET.get("after")) is not None
        self._set_links(found, has_newer=has_more if is_back else is_beyond, has_older=is_back or has_more)
        self.result_count = len(found)
        self.counted = self._count(len(found))
        self.show_full_result_count, self.full_result_count = False, None
        self.show_admin_actions = bool(found)
        self.can_show_all, self.multi_page = False, False
        self.paginator = Paginator(found, size)

    def _page(self, request: HttpRequest) -> tuple[QuerySet[Any], bool]:
        for name in KEYS:
            if (key := whole(request.GET.get(name))) is not None:
                columns = [str(column) for column in self.queryset.query.order_by]
                names = [column.lstrip("-") for column in columns]
                last = self.root_queryset.order_by().filter(pk=key).values(*names).first()
                if last is not None and name == "after":
                    return self.queryset.filter(beyond(columns, last=last)), False
                if last is not None:
                    other_way = [column[1:] if column.startswith("-") else f"-{column}" for column in columns]
                    return self.queryset.order_by(*other_way).filter(beyond(other_way, last=last)), True
        return self.queryset, False

    def _set_links(self, found: Sequence[Any], *, has_newer: bool, has_older: bool) -> None:
        clean = dict.fromkeys(KEYS)
        self.newest_link = self.get_query_string(clean) if has_newer else ""
        self.newer_link = self.get_query_string({**clean, "before": found[0].pk}) if has_newer and found else ""
        self.older_link = self.get_query_string({**clean, "after": found[-1].pk}) if has_older and found else ""

    def _count(self, on_page: int) -> str:
        """How many match, up to a cap; "" where to count them would be to search for them again."""
        if not self.newer_link and not self.older_link:
            return str(on_page)
        if self.filterset.is_slow:
            return ""
        count = self.queryset.order_by()[: MOST_COUNTED + 1].count()
        return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else str(count)

    def tab_links(self) -> list[tuple[str, Any, bool]]:
        field = self.filterset.tab_field
        chosen = self.filterset.data.get(field) or (self.filterset.tabs[0][0] if self.filterset.tabs else "")
        clean = dict.fromkeys(KEYS)
        return [
            (self.get_query_string({**clean, field: value}), title, value == chosen)
            for value, title in self.filterset.tabs
        ]


class KeysetAdmin(EngineRowAdmin):
    """Rows of the engine in such a list. `batch_target`: what a batch calls them, "" where there is none of them;
    `views_of`: what saved views call the list, "" where it has none."""

    filterset_class: ClassVar[type[ListFilter]]
    batch_target: ClassVar[str] = ""
    views_of: ClassVar[str] = ""
    change_list_template = "admin/keyset_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_urls(self) -> list[URLPattern]:
        return [*(saved_views.urls(self) if self.views_of else []), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        query = {name: request.GET[name] for name in self.filterset_class.base_filters if request.GET.get(name)}
        extra: dict[str, Any] = {"bulk_links": bulk_links(request.user, target=self.batch_target, query=query)}
        if self.views_of and self.has_view_permission(request):
            extra["views"] = saved_views.views_of(self, request=request)
        return super().changelist_view(request, {**extra, **(extra_context or {})})

    def prepared(self, rows: list[Any]) -> list[Any]:
        """The rows of a page, with what its columns need besides."""
        return rows
