"""Transactions: the runs of flows, named by the business, and the unit of claim."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from dist_task.states import FINAL_TRANSACTION, UNFINISHED_TRANSACTION, CompensationStatus, TransactionStatus
from flows.models import Flow


class TransactionQuerySet(models.QuerySet["Transaction"]):
    def due(self) -> TransactionQuerySet:
        """Those that a worker should take now."""
        return self.filter(owner=None, wake_at__lte=Now())

    def unfinished(self) -> TransactionQuerySet:
        return self.exclude(status__in=FINAL_TRANSACTION)


class Transaction(models.Model):
    """One run of a flow. Its row is the lock, the lease and the schedule of everything below it.

    `wake_at`: when it next needs a worker; null means never by itself. `owner`: the id of the `Worker` that holds it,
    the fence of every write. `revision`: raised by every verb from outside, so that an owner plans again.
    """

    id = models.BigAutoField(primary_key=True)
    instance_id = models.CharField(_("instance id"), max_length=64, db_collation="C")
    flow = models.ForeignKey(
        Flow, on_delete=models.PROTECT, related_name="transactions", verbose_name=_("flow"), db_index=False
    )
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=TransactionStatus,
        default=TransactionStatus.PENDING,
        db_default=TransactionStatus.PENDING,
    )
    compensation = models.CharField(
        _("compensation"),
        max_length=10,
        choices=CompensationStatus,
        default=CompensationStatus.NONE,
        db_default=CompensationStatus.NONE,
    )
    cancelling = models.BooleanField(
        _("cancelling"),
        default=False,
        db_default=False,
        help_text=_("Cancelled once its attempts in flight end."),
    )
    paused = models.BooleanField(
        _("paused"),
        default=False,
        db_default=False,
        help_text=_("Nothing of it begins until somebody resumes it."),
    )
    params = models.JSONField(_("parameters"), default=dict, db_default={})
    wake_at = models.DateTimeField(_("due at"), null=True, db_default=Now())
    owner = models.BigIntegerField(_("held by worker"), null=True)
    revision = models.IntegerField(_("revision"), default=0, db_default=0)
    created_by = models.CharField(_("started by"), max_length=150, blank=True, db_default="")
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), null=True)
    completed_at = models.DateTimeField(_("completed at"), null=True)
    resumed_at = models.DateTimeField(
        _("resumed at"),
        null=True,
        help_text=_("When it was last taken up again after it had failed, or had been paused."),
    )
    parent = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="children",
        verbose_name=_("started by transaction"),
        db_index=False,
        db_constraint=False,
    )
    parent_task_id = models.CharField(_("started by task"), max_length=64, blank=True, default="", db_default="")
    parent_op = models.CharField(_("started in direction"), max_length=10, blank=True, default="", db_default="")
    parent_item = models.IntegerField(_("started by item"), default=-1, db_default=-1)
    owes_parent = models.BooleanField(
        _("owes its parent an answer"),
        default=False,
        db_default=False,
        help_text=_("The task that started it has not been told yet how it ended."),
    )

    rerun_of = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="reruns",
        verbose_name=_("run again of transaction"),
        db_index=False,
        db_constraint=False,
    )
    was_run_again = models.BooleanField(
        _("was run again"),
        default=False,
        db_default=False,
        help_text=_("It goes on there, also once that one has been removed."),
    )

    objects = TransactionQuerySet.as_manager()

    class Meta:
        verbose_name = _("transaction")
        verbose_name_plural = _("transactions")
        ordering = ("-id",)
        permissions = (
            ("compensate_transaction", _("Can compensate transactions")),
            ("pause_transaction", _("Can pause and resume transactions")),
            ("rerun_transaction", _("Can run transactions again")),
        )
        indexes = (
            # claim: SELECT ... WHERE wake_at <= now ORDER BY wake_at FOR UPDATE SKIP LOCKED (engine/store.py)
            models.Index(fields=["wake_at"], name="transaction_due", condition=Q(wake_at__isnull=False)),
            # rescue and release: rows of one owner (engine/store.py)
            models.Index(fields=["owner"], name="transaction_owner", condition=Q(owner__isnull=False)),
            # lists: newest of a flow, by time, newest of a status (most are successful: the primary key serves those)
            models.Index(
                fields=["status", "-id"],
                name="transaction_status_newest",
                condition=~Q(status=TransactionStatus.SUCCESS),
            ),
            models.Index(fields=["-id"], name="transaction_paused_newest", condition=Q(paused=True)),
            models.Index(fields=["flow", "-id"], name="transaction_flow_newest"),
            models.Index(fields=["created_at"], name="transaction_created"),
            # those that a transaction has started; and of these, the ones whose end it has not been told
            models.Index(fields=["parent"], name="transaction_parent", condition=Q(parent__isnull=False)),
            models.Index(fields=["id"], name="transaction_owes_parent", condition=Q(owes_parent=True)),
        )
        constraints = (
            # not unique=True, which adds an index for prefixes: with the collation C this one finds them, too
            models.UniqueConstraint(fields=["instance_id"], name="transaction_instance"),
            # a chain, not a tree: who wants it once more runs the last one again
            models.UniqueConstraint(
                fields=["rerun_of"], name="transaction_rerun_once", condition=Q(rerun_of__isnull=False)
            ),
            # As in TaskRun: the statuses that there are, and which of them are final.
            models.CheckConstraint(
                name="transaction_final_iff_completed",
                condition=Q(status__in=FINAL_TRANSACTION, completed_at__isnull=False)
                | Q(status__in=UNFINISHED_TRANSACTION, completed_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return self.instance_id

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_TRANSACTION
