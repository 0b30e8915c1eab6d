"""A list's filters under a name."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Case, Q, QuerySet, When
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

LONGEST_NAME = 60
LONGEST_QUERY = 2_000
MOST_OWN = 50
"""Of one person, of all lists together."""
MOST_SHOWN = 60


class ListPage(models.TextChoices):
    TRANSACTIONS = "transactions", _("transactions")
    EXCEPTIONS = "exceptions", _("exceptions")


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def seen_by(self, user: object) -> QuerySet[SavedView]:
        return self.filter(Q(owner=user) | Q(is_shared=True))

    def for_list(self, user: object, *, page: str) -> QuerySet[SavedView]:
        """As a list shows them: their own first, by name."""
        own_first = Case(When(owner=user, then=0), default=1)
        found = self.seen_by(user).filter(page=page).select_related("owner")
        return found.only("name", "is_shared", "query", "owner__username").order_by(own_first, "name", "id")[
            :MOST_SHOWN
        ]


class SavedView(models.Model):
    """`query` is canonical (`saving.canonical`): known filters only, in the order of their names."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views", verbose_name=_("owner")
    )
    page = models.CharField(_("list"), max_length=20, choices=ListPage)
    name = models.CharField(_("name"), max_length=LONGEST_NAME)
    query = models.CharField(_("filters"), max_length=LONGEST_QUERY)
    is_shared = models.BooleanField(_("shared"), default=False, db_default=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        ordering = ("name",)
        default_permissions = ()
        permissions = (("share_savedview", _("Can share saved views")),)
        constraints = (models.UniqueConstraint(fields=["owner", "page", "name"], name="savedview_owner_page_name"),)
        indexes = (
            # a list's shared ones; a person's own are served by the constraint
            models.Index(fields=["page", "name"], name="savedview_shared", condition=Q(is_shared=True)),
        )

    def __str__(self) -> str:
        return self.name
