"""Saving and deleting views. What is kept is a list's own filters; an address never is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.translation import gettext as _

from dist_task.console.text import plain
from dist_task.errors import IllegalMove, InvalidRequest, NotFound
from dist_task.payload import CONTROL

from .models import LONGEST_NAME, LONGEST_QUERY, MOST_OWN, SavedView

SHARE = "saved_views.share_savedview"


def canonical(given: Mapping[str, str], *, known: Collection[str]) -> str:
    """The same text for the same filters; what is no filter of the list is left out."""
    return urlencode([(name, given[name]) for name in sorted(known) if given.get(name)])


@transaction.atomic
def save_view(user: Any, *, page: str, name: str, query: str, is_shared: bool) -> SavedView:
    """`query` is canonical, and says something. Raises InvalidRequest, or IllegalMove where it is taken or too many."""
    name = checked_name(name)
    if not query:
        raise InvalidRequest(_("There is no filter to save: filter the list first."))
    if len(query) > LONGEST_QUERY:
        raise InvalidRequest(_("The filters are too long to be saved."))
    get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)  # two at once would both find room
    own = SavedView.objects.filter(owner=user)
    if own.filter(page=page, name=name).exists():
        raise IllegalMove(_("You have a view named %(name)s: delete it first.") % {"name": plain(name)})
    if own.count() >= MOST_OWN:
        raise IllegalMove(
            _("You have %(most)d views, and there can be no more: delete one first.") % {"most": MOST_OWN}
        )
    return SavedView.objects.create(owner=user, page=page, name=name, query=query, is_shared=is_shared)


def checked_name(name: str) -> str:
    found = name.strip()
    if not found:
        raise InvalidRequest(_("A view needs a name."))
    if len(found) > LONGEST_NAME:
        raise InvalidRequest(_("A name has at most %(most)d characters.") % {"most": LONGEST_NAME})
    if CONTROL.search(found):
        raise InvalidRequest(_("Has a line break or another control character."))
    return found


def delete_view(user: Any, *, page: str, view_id: int) -> SavedView:
    """One's own, or a shared one by who may share. Raises NotFound, also for what is somebody else's."""
    view = SavedView.objects.seen_by(user).filter(pk=view_id, page=page).first()
    if view is None or (view.owner_id != user.pk and not user.has_perm(SHARE)):
        raise NotFound(_("You have no such view."))
    view.delete()
    return view
