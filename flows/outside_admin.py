"""Connections and secrets in the console."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from dist_task import given_secrets
from dist_task.console import site
from dist_task.console.display import badge, moment, short
from dist_task.console.rows import BoundedAdmin
from dist_task.executors.secrets import named_in
from dist_task.sealing import has_keys
from flows.models import Connection, Secret
from flows.outside_forms import ConnectionForm, SecretForm
from flows.secret_rows import store


@admin.register(Connection, site=site)
class ConnectionAdmin(BoundedAdmin):
    form = ConnectionForm
    list_display = ("name", "kind", "state", "leads_to", "about", "updated", "updated_by")
    list_filter = ("kind",)
    search_fields = ("name__istartswith",)
    search_help_text = _("The beginning of a name")
    ordering = ("name",)
    sortable_by = ()
    readonly_fields = ("updated", "updated_by")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fields = ConnectionForm.Meta.fields
        return fields if obj is None else (*fields, ("updated", "updated_by"))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else ("name", *self.readonly_fields)  # flows write the name

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        obj.updated_by, obj.updated_at = request.user.get_username(), Now()
        super().save_model(request, obj, form, change)
        obj.refresh_from_db(fields=["updated_at"])
        if not named_in(obj.config) <= known_names():
            text = _("A secret that this connection names is not known here: set it, or see that the workers have it.")
            self.message_user(request, text, messages.WARNING)

    @admin.display(description=_("active"))
    def state(self, row: Connection) -> str:
        return badge("yes", word=gettext("active")) if row.is_active else badge("no", word=gettext("inactive"))

    @admin.display(description=_("leads to"))
    def leads_to(self, row: Connection) -> str:
        found = row.config.get("base_url", row.config.get("host", "")) if isinstance(row.config, dict) else ""
        return short(str(found), length=80)

    @admin.display(description=_("description"))
    def about(self, row: Connection) -> str:
        return short(row.description, length=60)

    @admin.display(description=_("updated at"))
    def updated(self, row: Connection) -> str:
        return moment(row.updated_at)


@admin.register(Secret, site=site)
class SecretAdmin(BoundedAdmin):
    """Names, and where each comes from. Values go in only."""

    form = SecretForm
    change_list_template = "admin/secrets.html"
    list_display = ("name", "state", "set_at", "updated_by")
    search_fields = ("name__istartswith",)
    search_help_text = _("The beginning of a name")
    ordering = ("name",)
    sortable_by = ()

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return ("name", "value") if obj is None else ("name", "value", ("set_at", "updated_by"))

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return () if obj is None else ("name", "set_at", "updated_by")  # it is sealed under its name

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("sealed")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        given = {"given": _given(), "has_keys": has_keys()}
        return super().changelist_view(request, {**given, **(extra_context or {})})

    @method_decorator(sensitive_post_parameters("value"))
    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Secret, form: Any, change: bool) -> None:
        obj.pk = store(obj.name, value=form.cleaned_data["value"], actor=request.user.get_username()).pk

    @admin.display(description=_("where from"))
    def state(self, row: Secret) -> str:
        if row.name in given_secrets.in_environment() or row.name in given_secrets.in_files():
            return badge("skipped", word=gettext("stored here, but the deployment gives another one"))
        return badge("yes", word=gettext("stored here"))

    @admin.display(description=_("set at"))
    def set_at(self, row: Secret) -> str:
        return moment(row.updated_at)


def known_names() -> set[str]:
    stored = set(Secret.objects.values_list("name", flat=True))
    return stored | given_secrets.in_environment().keys() | given_secrets.in_files().keys()


def _given() -> list[tuple[str, str]]:
    """Names that the deployment gives to this process, and from where."""
    places = dict.fromkeys(given_secrets.in_files(), gettext("a file"))
    places |= dict.fromkeys(given_secrets.in_environment(), gettext("the environment"))
    return sorted(places.items())
