"""What somebody has asked for, who and why, until when, and what a second person said to it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from dist_task.batches.models import Batch
from transactions.models import Transaction

from .words import Act, RequestStatus

IS_AWAITING = Q(status=RequestStatus.AWAITING)


class ApprovalRequestQuerySet(models.QuerySet["ApprovalRequest"]):
    def awaiting(self) -> ApprovalRequestQuerySet:
        """Those that can still be approved."""
        return self.filter(IS_AWAITING, expires_at__gt=Now())

    def overdue(self) -> ApprovalRequestQuerySet:
        """Those whose time is over, and of which nobody has written so."""
        return self.filter(IS_AWAITING, expires_at__lte=Now())


class ApprovalRequest(models.Model):
    """It is about a transaction or about a batch, and whoever changes it locks that first.

    `arguments`: how the transaction stood when its compensation was asked for. What a batch is to do is frozen with it.
    """

    id = models.BigAutoField(primary_key=True)
    act = models.CharField(_("about"), max_length=20, choices=Act)
    transaction = models.ForeignKey(
        Transaction,
        on_delete=models.CASCADE,
        null=True,
        related_name="approval_requests",
        verbose_name=_("transaction"),
    )
    batch = models.OneToOneField(
        Batch, on_delete=models.CASCADE, null=True, related_name="approval_request", verbose_name=_("batch")
    )
    arguments = models.JSONField(_("arguments"), default=dict)
    remark = models.TextField(_("remark"))
    asked_by = models.CharField(_("asked for by"), max_length=150)
    asked_at = models.DateTimeField(_("asked for at"), db_default=Now())
    expires_at = models.DateTimeField(_("expires at"))
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=RequestStatus,
        default=RequestStatus.AWAITING,
        db_default=RequestStatus.AWAITING,
    )
    decided_by = models.CharField(_("decided by"), max_length=150, blank=True, default="", db_default="")
    decided_at = models.DateTimeField(_("decided at"), null=True)
    decision_remark = models.TextField(_("remark of the decision"), blank=True, default="", db_default="")

    objects = ApprovalRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("approval request")
        verbose_name_plural = _("approval requests")
        ordering = ("-id",)
        default_permissions = ("view",)
        indexes = (
            # those that await somebody: the count on each page, and the sweeper's look (engine/four_eyes/verbs.py)
            models.Index(fields=["expires_at"], name="approvalrequest_awaiting", condition=IS_AWAITING),
        )
        constraints = (
            models.UniqueConstraint(fields=["transaction"], name="approvalrequest_one_awaiting", condition=IS_AWAITING),
            models.CheckConstraint(
                name="approvalrequest_about_one_thing",
                condition=Q(act=Act.COMPENSATE, transaction__isnull=False, batch__isnull=True)
                | Q(act=Act.BATCH, transaction__isnull=True, batch__isnull=False),
            ),
            models.CheckConstraint(
                name="approvalrequest_final_iff_decided",
                condition=(IS_AWAITING & Q(decided_at__isnull=True)) | (~IS_AWAITING & Q(decided_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="approvalrequest_two_people",
                condition=~Q(status=RequestStatus.APPROVED) | ~Q(decided_by=F("asked_by")),
            ),
            models.CheckConstraint(name="approvalrequest_status_known", condition=Q(status__in=RequestStatus.values)),
        )

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def is_awaiting(self) -> bool:
        return self.status == RequestStatus.AWAITING
