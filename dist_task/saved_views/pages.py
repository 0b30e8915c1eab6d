"""Saved views above a list: the links, and what its form sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from dist_task.console.text import brief, plain
from dist_task.errors import DistTaskError, InvalidRequest

from .models import LONGEST_NAME, SavedView
from .saving import SHARE, canonical, delete_view, save_view

LONGEST_SHOWN = 80
"""Bytes of a name in the page."""


@dataclass(frozen=True, slots=True)
class Link:
    pk: int
    name: str
    owner: str  # "" of one's own
    is_shared: bool
    is_current: bool
    may_delete: bool


@dataclass(frozen=True, slots=True)
class Views:
    """What the template needs. `query`: the filters of now; "" where there are none to save."""

    links: tuple[Link, ...]
    query: str
    may_share: bool
    post_url: str
    longest_name: int = LONGEST_NAME

    @property
    def deletable(self) -> list[Link]:
        return [link for link in self.links if link.may_delete]


def urls(model_admin: Any) -> list[URLPattern]:
    """Below the list: one address takes the form, the others lead to a view."""
    wrap, page = model_admin.admin_site.admin_view, model_admin.views_of

    def post(request: HttpRequest) -> HttpResponse:
        return _post(model_admin, request=request)

    def show(request: HttpRequest, view_id: int) -> HttpResponse:
        return _show(model_admin, request=request, view_id=view_id)

    return [
        path("views/", wrap(post), name=f"{page}_views"),
        path("views/<int:view_id>/", wrap(show), name=f"{page}_view"),
    ]


def views_of(model_admin: Any, *, request: HttpRequest) -> Views:
    known = model_admin.filterset_class.base_filters
    user, page = request.user, model_admin.views_of
    query, may_share = canonical(request.GET, known=known), user.has_perm(SHARE)
    links = tuple(
        Link(
            view.pk,
            brief(view.name, LONGEST_SHOWN),
            "" if view.owner_id == user.pk else brief(view.owner.get_username(), LONGEST_SHOWN),
            view.is_shared,
            is_current=bool(query) and view.query == query,
            may_delete=view.owner_id == user.pk or may_share,
        )
        for view in SavedView.objects.for_list(user, page=page)
    )
    return Views(links, query, may_share, reverse(f"admin:{page}_views"))


def _post(model_admin: Any, *, request: HttpRequest) -> HttpResponse:
    """Says what became of it above the list that it came from."""
    _refuse_strangers(model_admin, request=request)
    if request.method != "POST":
        raise Http404
    query = _canonical(model_admin, text=request.POST.get("query", ""))
    try:
        said = _delete(model_admin, request) if "delete" in request.POST else _save(model_admin, request, query=query)
        messages.success(request, said)
    except DistTaskError as error:
        messages.error(request, str(error))
    return _to_list(model_admin, query=query)


def _save(model_admin: Any, request: HttpRequest, *, query: str) -> str:
    is_shared = "shared" in request.POST
    if is_shared and not request.user.has_perm(SHARE):
        raise PermissionDenied
    if not _is_valid(model_admin, query=query):
        raise InvalidRequest(_("The filters are wrong: mend them first."))
    name = request.POST.get("name", "")
    view = save_view(request.user, page=model_admin.views_of, name=name, query=query, is_shared=is_shared)
    return _("The view %(name)s was saved.") % {"name": plain(view.name)}


def _delete(model_admin: Any, request: HttpRequest) -> str:
    text = request.POST.get("view", "")
    view_id = int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
    view = delete_view(request.user, page=model_admin.views_of, view_id=view_id)
    return _("The view %(name)s was deleted.") % {"name": plain(view.name)}


def _show(model_admin: Any, *, request: HttpRequest, view_id: int) -> HttpResponse:
    _refuse_strangers(model_admin, request=request)
    view = SavedView.objects.seen_by(request.user).filter(pk=view_id, page=model_admin.views_of).first()
    if view is None:
        raise Http404
    return _to_list(model_admin, query=_canonical(model_admin, text=view.query))  # filters may have gone since


def _refuse_strangers(model_admin: Any, *, request: HttpRequest) -> None:
    if not model_admin.has_view_permission(request):
        raise PermissionDenied


def _canonical(model_admin: Any, *, text: str) -> str:
    """Of whatever was sent: NUL and fields without number are no filters of anybody's."""
    try:
        given = dict(parse_qsl(text[:10_000].replace("\0", ""), max_num_fields=100))
    except ValueError:
        given = {}
    clean = {name: value for name, value in given.items() if "\0" not in value}
    return canonical(clean, known=model_admin.filterset_class.base_filters)


def _is_valid(model_admin: Any, *, query: str) -> bool:
    return bool(model_admin.filterset_class(QueryDict(query), queryset=model_admin.model.objects.none()).is_valid())


def _to_list(model_admin: Any, *, query: str) -> HttpResponse:
    opts = model_admin.opts
    address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    return HttpResponseRedirect(f"{address}?{query}" if query else address)
