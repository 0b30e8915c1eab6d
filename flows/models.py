"""Flows: immutable versions of named definitions, and the registry of task definitions."""

from __future__ import annotations

import secrets

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

ID_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def new_flow_id() -> str:
    """A short, URL-safe id: 10 characters of 31 make 49 bits, and the primary key refuses a repetition."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(10))


class FlowQuerySet(models.QuerySet["Flow"]):
    def visible(self) -> FlowQuerySet:
        """Those that were not deleted; a deleted flow stays for the transactions that ran it."""
        return self.filter(deleted_at=None)

    def latest_of(self, name: str) -> Flow | None:
        return self.filter(name=name).order_by("-version").first()


class Flow(models.Model):
    """One immutable version of a named definition; a changed definition is a new row."""

    id = models.CharField(primary_key=True, max_length=16, default=new_flow_id, editable=False)
    name = models.CharField(_("name"), max_length=100)
    version = models.PositiveIntegerField(_("version"))
    flow_type = models.CharField(_("type"), max_length=50)
    description = models.TextField(_("description"), blank=True)
    definition = models.TextField(_("definition"), help_text=_("The JSON text as it was posted."))
    task_definitions = models.JSONField(
        _("task definitions"),
        default=dict,
        help_text=_("The registry entries that the definition names, as they were when it was posted."),
    )
    create_user = models.CharField(_("created by"), max_length=100)
    is_active = models.BooleanField(_("active"), default=True)
    deleted_at = models.DateTimeField(_("deleted at"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated at"), db_default=Now(), editable=False)

    objects = FlowQuerySet.as_manager()

    class Meta:
        verbose_name = _("flow")
        verbose_name_plural = _("flows")
        ordering = ("-created_at", "-version")
        constraints = (models.UniqueConstraint(fields=("name", "version"), name="flow_name_version_unique"),)

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class TaskDefinition(models.Model):
    """An entry of the registry: what a definition's `task_name` stands for."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    type = models.CharField(_("type"), max_length=32)
    description = models.CharField(_("description"), max_length=200, blank=True)
    config = models.JSONField(_("default configuration"), default=dict, blank=True)
    inputs = models.JSONField(
        _("input fields"),
        default=list,
        blank=True,
        help_text=_('A list like [{"name": "user_id", "type": "string", "required": true}].'),
    )
    runbook_url = models.URLField(_("runbook"), blank=True, help_text=_("What to do when this task fails."))
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    class Meta:
        verbose_name = _("task definition")
        verbose_name_plural = _("task definitions")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Connection(models.Model):
    """Where tasks may go, under a name that flows write. Its secrets are named in it, never held."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9_][A-Za-z0-9_-]*\Z", _("Letters, digits, _ and - only."))],
        help_text=_("What flows write. Letters, digits, _ and -."),
    )
    kind = models.CharField(_("type"), max_length=32, help_text=_("The type of the tasks that use it."))
    config = models.JSONField(_("configuration"), default=dict)
    description = models.CharField(_("description"), max_length=200, blank=True)
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Switched off, its tasks fail and are tried again by their policies.")
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated at"), db_default=Now(), editable=False)
    updated_by = models.CharField(_("updated by"), max_length=150, blank=True, default="", editable=False)

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Secret(models.Model):
    """A credential, sealed (see `dist_task.sealing`). Nobody is shown its value again."""

    name = models.CharField(
        _("name"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*\Z", _("Letters, digits and _ only, no digit first."))],
        help_text=_("What ${secrets.NAME} names. Letters, digits and _."),
    )
    sealed = models.TextField(editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("set at"), db_default=Now(), editable=False)
    updated_by = models.CharField(_("set by"), max_length=150, blank=True, default="", editable=False)

    class Meta:
        verbose_name = _("secret")
        verbose_name_plural = _("secrets")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
