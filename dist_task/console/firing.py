"""Which alert rules fire now, for the first page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.db.models import Case, Value, When

from dist_task.alerts.models import AlertRule
from dist_task.alerts.texts import condition
from dist_task.alerts.words import RuleState, Severity
from dist_task.console.display import list_url

MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Alert:
    pk: int
    name: str
    severity: str
    level: str
    found: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Alerts:
    """`firing`: the gravest first, and of those the longest. `is_watched`: whether any rule is switched on at all."""

    firing: Sequence[Alert]
    has_more: bool
    is_watched: bool
    firing_url: str
    rules_url: str


def alerts() -> Alerts:
    """One query over a small table: people make its rows by hand."""
    firing_first = Case(When(state=RuleState.FIRING, then=0), default=1)
    gravest_first = Case(
        When(severity=Severity.CRITICAL, then=Value(0)), When(severity=Severity.WARNING, then=Value(1)), default=2
    )
    rules = AlertRule.objects.filter(is_active=True).order_by(firing_first, gravest_first, "since", "id")
    found = list(rules[: MOST_SHOWN + 1])
    firing = [_alert(rule) for rule in found if rule.state == RuleState.FIRING]
    firing_url = list_url(AlertRule, query=urlencode({"state__exact": RuleState.FIRING}))
    return Alerts(firing[:MOST_SHOWN], len(firing) > MOST_SHOWN, bool(found), firing_url, rules_url=list_url(AlertRule))


def _alert(rule: AlertRule) -> Alert:
    found = condition({"kind": rule.kind, "value": rule.value}) if rule.value >= 1 else ""
    return Alert(rule.pk, rule.name, rule.severity, str(rule.get_severity_display()), found, rule.since)
