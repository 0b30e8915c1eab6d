"""A batch with who asked for it and why, its items with what became of each, and what people did to it since."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .words import FINAL_BATCH, BatchEvent, BatchStatus, ItemStatus, Target

DEFAULT_RATE = 50.0


class Batch(models.Model):
    """Its row is the lock of its items: whoever does one holds it until that is committed, and counts it here.

    `next_at`: when the next item may be done, the rate limit. `last_item_id`: all items up to this one have ended.
    """

    id = models.BigAutoField(primary_key=True)
    target = models.CharField(_("about"), max_length=20, choices=Target)
    verb = models.CharField(_("verb"), max_length=20)
    parameters = models.JSONField(_("parameters"), default=dict)
    selection = models.JSONField(_("selection"), default=dict, help_text=_("The filter, or how many ids were named."))
    remark = models.TextField(_("remark"))
    language = models.CharField(max_length=10, default="en", help_text="Of the messages of its items.")
    rate = models.FloatField(_("items per second at most"), default=DEFAULT_RATE)
    status = models.CharField(
        _("status"), max_length=10, choices=BatchStatus, default=BatchStatus.RUNNING, db_default=BatchStatus.RUNNING
    )
    total = models.IntegerField(_("items"), default=0, db_default=0)
    done = models.IntegerField(_("done"), default=0, db_default=0)
    refused = models.IntegerField(_("refused"), default=0, db_default=0)
    failed = models.IntegerField(_("failed"), default=0, db_default=0)
    last_item_id = models.BigIntegerField(default=0, db_default=0)
    next_at = models.DateTimeField(db_default=Now())
    created_by = models.CharField(_("created by"), max_length=150)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("ended at"), null=True)

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        ordering = ("-id",)
        indexes = (
            # what workers look for every second (engine/store/batches.py)
            models.Index(fields=["next_at"], name="batch_running", condition=Q(status=BatchStatus.RUNNING)),
            # prune
            models.Index(fields=["created_at"], name="batch_created"),
        )
        constraints = (
            models.CheckConstraint(
                name="batch_final_iff_finished",
                condition=Q(status__in=FINAL_BATCH, finished_at__isnull=False)
                | (~Q(status__in=FINAL_BATCH) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(name="batch_status_known", condition=Q(status__in=BatchStatus.values)),
        )

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def ended(self) -> int:
        return self.done + self.refused + self.failed

    @property
    def left(self) -> int:
        return self.total - self.ended


class BatchItem(models.Model):
    """One row of the frozen set. No foreign keys in the database: prune removes both sides by themselves."""

    id = models.BigAutoField(primary_key=True)
    batch = models.ForeignKey(
        Batch, on_delete=models.CASCADE, related_name="items", db_index=False, db_constraint=False
    )
    target_id = models.BigIntegerField(_("id"))
    name = models.CharField(_("instance id"), max_length=64)
    status = models.CharField(
        _("result"), max_length=10, choices=ItemStatus, default=ItemStatus.PENDING, db_default=ItemStatus.PENDING
    )
    message = models.TextField(_("message"), blank=True, default="", db_default="")
    at = models.DateTimeField(_("at"), null=True)

    class Meta:
        default_permissions = ()
        verbose_name = _("item")
        verbose_name_plural = _("items")
        ordering = ("id",)
        indexes = (
            # the next one; the page and the export of a batch
            models.Index(fields=["batch", "id"], name="batchitem_of_batch"),
            # those of one result, which are few where most went well
            models.Index(fields=["batch", "status", "id"], name="batchitem_of_result"),
        )

    def __str__(self) -> str:
        return self.name


class BatchLog(models.Model):
    """Append-only: who made, paused, resumed and cancelled it, and why."""

    id = models.BigAutoField(primary_key=True)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="log", db_constraint=False)
    event = models.CharField(_("event"), max_length=20, choices=BatchEvent)
    actor = models.CharField(_("actor"), max_length=150)
    message = models.TextField(_("message"), blank=True, default="", db_default="")
    detail = models.JSONField(_("detail"), null=True, help_text=_("Of a request: its number, and both people."))
    at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        default_permissions = ()
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.event} {self.actor}"
