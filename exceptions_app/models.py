"""Exception records: failures that somebody may have to look at."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from dist_task.models import TaskRun
from dist_task.states import ExceptionStatus, Op, Resolution
from flows.models import Flow
from transactions.models import Transaction


class ExceptionQuerySet(models.QuerySet["ExceptionRecord"]):
    def needing_a_person(self) -> ExceptionQuerySet:
        return self.filter(status=ExceptionStatus.OPEN)

    def unhandled(self) -> ExceptionQuerySet:
        return self.exclude(status=ExceptionStatus.HANDLED)


class ExceptionRecord(models.Model):
    """At most one that is not handled per task run; later failures of the same run count up on it."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(Transaction, on_delete=models.CASCADE, related_name="exceptions")
    run = models.ForeignKey(TaskRun, on_delete=models.CASCADE, related_name="exceptions")
    flow = models.ForeignKey(Flow, on_delete=models.PROTECT, related_name="+")
    task_id = models.CharField(_("task"), max_length=64)
    op = models.CharField(_("direction"), max_length=10, choices=Op, default=Op.ACTION)
    item = models.IntegerField(_("item"), default=-1)
    task_name = models.CharField(_("task name"), max_length=200)
    status = models.CharField(_("status"), max_length=10, choices=ExceptionStatus)
    error_code = models.CharField(_("error code"), max_length=100, blank=True)
    error_message = models.TextField(_("error message"), blank=True)
    outcome = models.CharField(
        _("outcome"),
        max_length=10,
        help_text=_("retryable, terminal, or unknown: it may have been executed."),
    )
    fingerprint = models.CharField(_("fingerprint"), max_length=32)
    occurrences = models.IntegerField(_("occurrences"), default=1, db_default=1)
    retry_next_at = models.DateTimeField(_("next retry at"), null=True)
    opened_at = models.DateTimeField(_("opened at"), db_default=Now())
    last_at = models.DateTimeField(_("last failure at"), db_default=Now())
    handled_at = models.DateTimeField(_("handled at"), null=True)
    handled_by = models.CharField(_("handled by"), max_length=150, blank=True, default="", db_default="")
    resolution = models.CharField(
        _("resolution"), max_length=20, choices=Resolution, blank=True, default="", db_default=""
    )
    remark = models.TextField(_("remark"), blank=True, default="", db_default="")
    assignee = models.CharField(
        _("assigned to"),
        max_length=150,
        blank=True,
        default="",
        db_default="",
        help_text=_("Who looks after it: the name of a user."),
    )

    objects = ExceptionQuerySet.as_manager()

    class Meta:
        verbose_name = _("exception")
        verbose_name_plural = _("exceptions")
        ordering = ("-id",)
        permissions = (
            ("retry_exceptionrecord", _("Can retry exceptions and transactions")),
            ("handle_exceptionrecord", _("Can handle exceptions")),
            ("assign_exceptionrecord", _("Can assign exceptions")),
            ("comment_exceptionrecord", _("Can comment on exceptions")),
            ("skip_exceptionrecord", _("Can skip failed tasks")),
            ("complete_exceptionrecord", _("Can complete tasks by hand")),
        )
        indexes = (
            # inbox: newest of a status; stats: opened since midnight; groups
            models.Index(fields=["status", "-id"], name="exception_status_newest"),
            models.Index(fields=["assignee", "-id"], name="exception_of_assignee", condition=~Q(assignee="")),
            models.Index(fields=["opened_at"], name="exception_opened"),
            models.Index(fields=["fingerprint"], name="exception_fingerprint"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["run"],
                condition=~Q(status=ExceptionStatus.HANDLED),
                name="exception_one_open_per_run",
            ),
            models.CheckConstraint(
                name="exception_handled_iff_handled_at",
                condition=Q(status=ExceptionStatus.HANDLED, handled_at__isnull=False)
                | (~Q(status=ExceptionStatus.HANDLED) & Q(handled_at__isnull=True)),
            ),
        )

    def __str__(self) -> str:
        return self.wire_task_id  # lists show it for each row, and leave the message in the database

    @property
    def handled(self) -> bool:
        return self.status == ExceptionStatus.HANDLED

    @property
    def wire_task_id(self) -> str:
        """The id of the task run on the wire: the documented `{instance_id}_{task id}`."""
        return f"{self.transaction.instance_id}_{self.task_id}"
