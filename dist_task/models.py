"""The work itself: task runs, the workers that do them, the log of what happened, and the counters."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from dist_task.states import FINAL_RUN, UNFINISHED_RUN, Op, RunStatus, WaitsFor
from flows.models import Flow
from transactions.models import Transaction


class Worker(models.Model):
    """A drain's lease. Ids are never used twice, so an id in `Transaction.owner` is a fence."""

    id = models.BigAutoField(primary_key=True)
    cluster = models.CharField(_("cluster"), max_length=64)
    host = models.CharField(_("host"), max_length=255)
    pid = models.IntegerField(_("process id"))
    lease_until = models.DateTimeField(_("lease until"))
    idle = models.BooleanField(
        _("idle"), db_default=True, help_text=_("Waits for a notification when something becomes due.")
    )
    batch = models.BigIntegerField(_("batches committed"), default=0, db_default=0)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    seen_at = models.DateTimeField(_("seen at"), db_default=Now())

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")
        ordering = ("-id",)
        indexes = (models.Index(fields=["lease_until"], name="worker_lease"),)

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}#{self.pk}"


class TaskRun(models.Model):
    """One task of one transaction in one direction. `item` is -1, or the index of a foreach item.

    No foreign key in the database, nor for the log: whoever writes holds the lock of the transaction's row, and a
    check per row costs more than the row. `verify_invariants` finds strays.
    """

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.CASCADE, related_name="runs", db_index=False, db_constraint=False
    )
    task_id = models.CharField(_("task"), max_length=64)
    op = models.CharField(_("direction"), max_length=10, choices=Op, default=Op.ACTION, db_default=Op.ACTION)
    item = models.IntegerField(_("item"), default=-1, db_default=-1)
    status = models.CharField(_("status"), max_length=10, choices=RunStatus)
    attempt = models.IntegerField(_("attempt"), default=0, db_default=0)
    attempt_budget = models.IntegerField(
        _("attempt budget"),
        default=1,
        db_default=1,
        help_text=_("The number of the last attempt made by itself."),
    )
    due_at = models.DateTimeField(
        _("due at"), null=True, help_text=_("When a pending run may start, or a waiting one waits no longer.")
    )
    deadline_at = models.DateTimeField(
        _("deadline"), null=True, help_text=_("When no further attempt is made by itself, and no answer awaited.")
    )
    waits_for = models.CharField(_("waits for"), max_length=10, choices=WaitsFor, blank=True, default="", db_default="")
    answer = models.JSONField(
        _("answer"), null=True, help_text=_("What came from outside, until a worker has taken it up.")
    )
    input = models.JSONField(_("input"), null=True)
    output = models.JSONField(_("output"), null=True)
    error_code = models.CharField(_("error code"), max_length=100, blank=True, default="", db_default="")
    error_message = models.TextField(_("error message"), blank=True, default="", db_default="")
    maybe_executed = models.BooleanField(
        _("may have been executed"),
        default=False,
        db_default=False,
        help_text=_("An attempt ended without a definite answer, so the work may have been done."),
    )
    begun_by = models.BigIntegerField(_("worker"), null=True, help_text=_("The worker that began the last attempt."))
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)

    class Meta:
        verbose_name = _("task run")
        verbose_name_plural = _("task runs")
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(fields=["transaction", "task_id", "op", "item"], name="taskrun_unique"),
            # One for both rules, and each status once: PostgreSQL reads its text anew for each statement that writes.
            models.CheckConstraint(
                name="taskrun_final_iff_finished",
                condition=Q(status__in=FINAL_RUN, finished_at__isnull=False)
                | Q(status__in=UNFINISHED_RUN, finished_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_id} ({self.op})"


BY_PEOPLE = ~Q(actor__in=("", "system", "callback"))
"""Of log entries: those that somebody asked for, and no machine. An index has this condition."""


class LogEvent(models.TextChoices):
    SUCCEEDED = "succeeded", _("attempt succeeded")
    FAILED = "failed", _("attempt failed")
    UNKNOWN = "unknown", _("attempt without a definite answer")
    WORKER_LOST = "worker_lost", _("worker lost in mid attempt")
    WAITING = "waiting", _("began to wait")
    ANSWERED = "answered", _("answered from outside")
    FENCED = "fenced", _("late result refused")
    SKIPPED = "skipped", _("task skipped")
    RETRIED = "retried", _("retry asked for")
    HANDLED = "handled", _("exception handled")
    COMPLETED = "completed", _("completed by hand")
    ASSIGNED = "assigned", _("exception assigned")
    COMMENTED = "commented", _("comment")
    PAUSED = "paused", _("paused")
    RESUMED = "resumed", _("resumed")
    CANCELLED = "cancelled", _("cancel asked for")
    RERUN = "rerun", _("run again")
    CARRIED_OVER = "carried_over", _("outcome carried over")
    REQUESTED = "requested", _("compensation asked for")
    APPROVED = "approved", _("approved by a second person")
    REJECTED = "rejected", _("rejected by a second person")
    WITHDRAWN = "withdrawn", _("request withdrawn")
    EXPIRED = "expired", _("request expired")
    COMPENSATING = "compensating", _("undoing began")
    COMPENSATED = "compensated", _("undoing ended")
    RESCUED = "rescued", _("taken from a dead worker")
    PARKED = "parked", _("put aside after an error of the engine")


class ExecutionLog(models.Model):
    """Append-only: one row per ended attempt, and one per other change, with the actor."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(
        Transaction, on_delete=models.CASCADE, related_name="log", db_index=False, db_constraint=False
    )
    task_id = models.CharField(_("task"), max_length=64, blank=True, default="", db_default="")
    op = models.CharField(_("direction"), max_length=10, blank=True, default="", db_default="")
    item = models.IntegerField(_("item"), default=-1, db_default=-1)
    attempt = models.IntegerField(_("attempt"), default=0, db_default=0)
    event = models.CharField(_("event"), max_length=20, choices=LogEvent)
    actor = models.CharField(_("actor"), max_length=150, blank=True, default="", db_default="")
    message = models.TextField(_("message"), blank=True, default="", db_default="")
    error_code = models.CharField(_("error code"), max_length=100, blank=True, default="", db_default="")
    request = models.JSONField(_("request"), null=True)
    response = models.JSONField(_("response"), null=True)
    detail = models.JSONField(_("detail"), null=True, help_text=_("Before and after, the remark, the worker."))
    started_at = models.DateTimeField(_("started at"), null=True)
    at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("log entry")
        verbose_name_plural = _("log entries")
        ordering = ("id",)
        indexes = (
            models.Index(fields=["transaction", "id"], name="executionlog_of_transaction"),
            # audit: the newest of what people did (console/audit.py); the attempts' entries are not in it
            models.Index(fields=["-id"], name="executionlog_by_people", condition=BY_PEOPLE),
        )

    def __str__(self) -> str:
        return f"{self.get_event_display()} {self.task_id}".strip()


class Counters(models.Model):
    """What status changes add up to, for one flow in one quarter of an hour."""

    flow = models.ForeignKey(Flow, on_delete=models.CASCADE, related_name="+", db_index=False)
    bucket = models.DateTimeField()
    created = models.BigIntegerField(default=0, db_default=0)
    succeeded = models.BigIntegerField(default=0, db_default=0)
    failed = models.BigIntegerField(default=0, db_default=0)
    cancelled = models.BigIntegerField(default=0, db_default=0)
    duration_ms = models.BigIntegerField(default=0, db_default=0, help_text="Of successful transactions.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.flow_id} {self.bucket:%Y-%m-%d %H:%M}"


class StatDelta(Counters):
    """The live edge: appended in the commit that changes a status, so that no counter row is a hot spot."""

    id = models.BigAutoField(primary_key=True)

    class Meta:
        default_permissions = ()


class StatRollup(Counters):
    """Deltas folded by housekeeping. `prune` keeps these, so totals outlive the rows that they counted."""

    id = models.BigAutoField(primary_key=True)

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["flow", "bucket"], name="statrollup_flow_bucket"),)
