"""The words of alerts: kinds, states, events. Pure."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class ChannelKind(TextChoices):
    WEBHOOK = "webhook", _("webhook")
    EMAIL = "email", _("e-mail")
    WECOM = "wecom", _("WeCom")
    DINGTALK = "dingtalk", _("DingTalk")
    FEISHU = "feishu", _("Feishu")
    SLACK = "slack", _("Slack")


class RuleKind(TextChoices):
    EXCEPTIONS = "exceptions", _("exceptions need a person")
    COMPENSATION = "compensation", _("a compensation failed")
    NOTHING_RUNS = "nothing_runs", _("nothing runs")
    OLDEST_DUE = "oldest_due", _("work has been due for too long")


class Severity(TextChoices):
    INFO = "info", _("info")
    WARNING = "warning", _("warning")
    CRITICAL = "critical", _("critical")


class Outcome(TextChoices):
    RETRYABLE = "retryable", _("retryable")
    TERMINAL = "terminal", _("terminal")
    UNKNOWN = "unknown", _("unknown")


class RuleState(TextChoices):
    OK = "ok", _("in order")
    FIRING = "firing", _("firing")


class DeliveryStatus(TextChoices):
    PENDING = "pending", _("pending")
    RETRYING = "retrying", _("retrying")
    DELIVERED = "delivered", _("delivered")
    GIVEN_UP = "given_up", _("given up")


class DeliveryEvent(TextChoices):
    FIRING = "alert.firing", _("alert: firing")
    RESOLVED = "alert.resolved", _("alert: resolved")
    SUCCESS = "transaction.success", _("transaction: success")
    FAILED = "transaction.failed", _("transaction: failed")
    CANCELLED = "transaction.cancelled", _("transaction: cancelled")
    TEST = "test", _("test")


OF_EXCEPTIONS = frozenset({RuleKind.EXCEPTIONS, RuleKind.COMPENSATION})
CHATS = frozenset({ChannelKind.WECOM, ChannelKind.DINGTALK, ChannelKind.FEISHU, ChannelKind.SLACK})
