"""Rules, the channels that they tell, subscriptions to finished transactions, and deliveries with their log."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Func, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from .words import ChannelKind, DeliveryEvent, DeliveryStatus, Outcome, RuleKind, RuleState, Severity

MOST_SECONDS = 30 * 86_400
MOST_THRESHOLD = 1_000
ATTEMPTS = 10
"""Of one delivery by itself; a redelivery gives as many anew."""
SECRET_NAME = RegexValidator(r"^[A-Za-z_][A-Za-z0-9_]*\Z", _("Letters, digits and _ only, no digit first."))
AT_MOST = MaxValueValidator(MOST_SECONDS)


class Channel(models.Model):
    """Where somebody is told. Credentials are secrets, named here and never held."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    kind = models.CharField(_("type"), max_length=10, choices=ChannelKind)
    url = models.CharField(_("URL"), max_length=500, blank=True, default="")
    recipients = models.TextField(
        _("recipients"), blank=True, default="", max_length=2_000, help_text=_("E-mail addresses, one a line.")
    )
    secret = models.CharField(
        _("secret"),
        max_length=64,
        blank=True,
        default="",
        validators=[SECRET_NAME],
        help_text=_("The name of the secret that signs: whsec_... of a webhook, the one that DingTalk or Feishu show."),
    )
    language = models.CharField(_("language"), max_length=10, choices=settings.LANGUAGES, default="en")
    is_active = models.BooleanField(
        _("active"), default=True, help_text=_("Switched off, nothing is delivered to it, and what waits is given up.")
    )
    why_inactive = models.CharField(_("why it is off"), max_length=200, blank=True, default="", editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated at"), db_default=Now(), editable=False)
    updated_by = models.CharField(_("updated by"), max_length=150, blank=True, default="", editable=False)

    class Meta:
        verbose_name = _("channel")
        verbose_name_plural = _("channels")
        ordering = ("name",)
        permissions = (("test_channel", _("Can send a test to channels")),)

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """A webhook for transactions that finish. A trigger of the database reads these (migration 0002)."""

    channel = models.ForeignKey(
        Channel, on_delete=models.CASCADE, related_name="subscriptions", verbose_name=_("channel")
    )
    flow_name = models.CharField(
        _("flow"), max_length=100, blank=True, default="", help_text=_("The name of a flow; empty: all flows.")
    )
    on_success = models.BooleanField(_("successful ones"), default=True)
    on_failed = models.BooleanField(_("failed ones"), default=True)
    on_cancelled = models.BooleanField(_("cancelled ones"), default=True)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("transaction webhook")
        verbose_name_plural = _("transaction webhooks")
        ordering = ("channel", "flow_name")
        constraints = (models.UniqueConstraint(fields=["channel", "flow_name"], name="subscription_channel_flow"),)

    def __str__(self) -> str:
        return f"{self.channel}: {self.flow_name or '*'}"


class AlertRule(models.Model):
    """A condition that is looked at every few seconds. `sequence` counts its transitions: each is told once."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("when"), max_length=20, choices=RuleKind)
    severity = models.CharField(_("severity"), max_length=10, choices=Severity, default=Severity.WARNING)
    flow_name = models.CharField(
        _("flow"), max_length=100, blank=True, default="", help_text=_("The name of a flow; empty: all flows.")
    )
    outcome = models.CharField(
        _("outcome"),
        max_length=10,
        choices=Outcome,
        blank=True,
        default="",
        help_text=_("Of exceptions: only those with this outcome."),
    )
    threshold = models.PositiveIntegerField(
        _("threshold"),
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_THRESHOLD)],
        help_text=_("Of exceptions: so many."),
    )
    window_seconds = models.PositiveIntegerField(
        _("window"),
        default=0,
        validators=[AT_MOST],
        help_text=_("Of exceptions: seconds since their last failure; 0: however long ago."),
    )
    age_seconds = models.PositiveIntegerField(
        _("age"),
        default=60,
        validators=[AT_MOST],
        help_text=_("Seconds for which nothing has run, or for which the oldest work has been due."),
    )
    calm_seconds = models.PositiveIntegerField(
        _("calm"),
        default=60,
        validators=[AT_MOST],
        help_text=_("A rule that fires ends when its condition has not been met for so many seconds."),
    )
    channels = models.ManyToManyField(Channel, related_name="rules", blank=True, verbose_name=_("channels"))
    is_active = models.BooleanField(_("active"), default=True)
    state = models.CharField(
        _("state"),
        max_length=10,
        choices=RuleState,
        default=RuleState.OK,
        db_default=RuleState.OK,
        editable=False,
    )
    since = models.DateTimeField(_("since"), db_default=Now(), editable=False)
    sequence = models.BigIntegerField(default=0, db_default=0, editable=False)
    value = models.FloatField(_("last value"), default=0, db_default=0, editable=False)
    quiet_since = models.DateTimeField(null=True, editable=False)
    checked_at = models.DateTimeField(_("looked at"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("alert rule")
        verbose_name_plural = _("alert rules")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One message for one channel: written with what it tells of, sent afterwards, and the log of that.

    `due_at`: when it is sent next; null when it has ended. No foreign keys in the database: the trigger writes these
    rows in the commits of workers, and a check there would lock the channel's row for all of them.
    """

    id = models.BigAutoField(primary_key=True)
    message_id = models.UUIDField(
        _("message id"),
        db_default=Func(function="gen_random_uuid"),
        help_text=_("The same on every attempt: by it a receiver knows what came before."),
    )
    key = models.CharField(max_length=120, help_text="What it tells of; a second row of it is refused.")
    channel = models.ForeignKey(
        Channel,
        on_delete=models.DO_NOTHING,
        related_name="deliveries",
        verbose_name=_("channel"),
        db_constraint=False,
        db_index=False,
    )
    event = models.CharField(_("event"), max_length=30, choices=DeliveryEvent)
    subject = models.CharField(_("about"), max_length=200, help_text=_("A rule's name or an instance id."))
    payload = models.JSONField(_("payload"))
    status = models.CharField(
        _("status"),
        max_length=10,
        choices=DeliveryStatus,
        default=DeliveryStatus.PENDING,
        db_default=DeliveryStatus.PENDING,
    )
    attempts = models.IntegerField(_("attempts"), default=0, db_default=0)
    attempt_budget = models.IntegerField(_("attempt budget"), default=ATTEMPTS, db_default=ATTEMPTS)
    due_at = models.DateTimeField(_("due at"), null=True, db_default=Now())
    last_error = models.TextField(_("last error"), blank=True, default="", db_default="")
    response_status = models.IntegerField(_("response status"), null=True)
    response = models.TextField(_("response"), blank=True, default="", db_default="")
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    last_at = models.DateTimeField(_("last attempt at"), null=True)
    finished_at = models.DateTimeField(_("ended at"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ("-id",)
        permissions = (("redeliver_delivery", _("Can redeliver")),)
        indexes = (
            # what is due, channel by channel, so that a dead one holds up nobody else (engine/store/deliveries.py)
            models.Index(fields=["channel", "due_at"], name="delivery_due", condition=Q(due_at__isnull=False)),
            # lists: newest of a channel, of an event, of a status (most are delivered: the primary key serves those)
            models.Index(fields=["channel", "-id"], name="delivery_of_channel"),
            models.Index(fields=["event", "-id"], name="delivery_of_event"),
            models.Index(
                fields=["status", "-id"],
                name="delivery_status_newest",
                condition=~Q(status=DeliveryStatus.DELIVERED),
            ),
            # prune
            models.Index(fields=["created_at"], name="delivery_created"),
        )
        constraints = (
            models.UniqueConstraint(fields=["key"], name="delivery_key"),
            models.CheckConstraint(
                name="delivery_due_iff_unfinished",
                condition=Q(status__in=("pending", "retrying"), due_at__isnull=False, finished_at__isnull=True)
                | Q(status__in=("delivered", "given_up"), due_at__isnull=True, finished_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.event} {self.subject}"


class DeliveryLog(models.Model):
    """Append-only: attempts that failed, and what people asked for. What was delivered at once needs no row."""

    class Event(models.TextChoices):
        FAILED = "failed", _("attempt failed")
        DELIVERED = "delivered", _("delivered after a failure")
        TESTED = "tested", _("test asked for")
        REDELIVERED = "redelivered", _("redelivery asked for")

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="log", db_index=False, db_constraint=False
    )
    event = models.CharField(_("event"), max_length=20, choices=Event)
    attempt = models.IntegerField(_("attempt"), default=0, db_default=0)
    actor = models.CharField(_("actor"), max_length=150, blank=True, default="", db_default="")
    message = models.TextField(_("message"), blank=True, default="", db_default="")
    response_status = models.IntegerField(_("response status"), null=True)
    response = models.TextField(_("response"), blank=True, default="", db_default="")
    at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        default_permissions = ()
        ordering = ("id",)
        indexes = (models.Index(fields=["delivery", "id"], name="deliverylog_of_delivery"),)

    def __str__(self) -> str:
        return f"{self.event} {self.attempt}"
