"""One look at one alert rule: what it finds, whether that is a transition, and the deliveries that tell of it."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import psycopg2

from dist_task.alerts.schedule import Move, move
from dist_task.alerts.words import OF_EXCEPTIONS, DeliveryEvent, RuleKind, RuleState
from dist_task.conf import conf
from dist_task.engine.store import alerts
from dist_task.engine.store.alerts import Finding, Rule

logger = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
PAGES = {
    RuleKind.EXCEPTIONS: "/admin/exceptions_app/exceptionrecord/?status=open",
    RuleKind.COMPENSATION: "/admin/exceptions_app/exceptionrecord/?status=open&op__exact=compensate",
    RuleKind.NOTHING_RUNS: "/admin/dist_task/worker/",
    RuleKind.OLDEST_DUE: "/admin/transactions/transaction/?moving=due",
}


def judge_next(cursor: Any, *, every_seconds: float = EVERY_SECONDS) -> bool:
    """In a database transaction: the next rule that is due. False when there is none."""
    rule = alerts.take_next(cursor, every_seconds=every_seconds)
    if rule is None:
        return False
    cursor.execute("SAVEPOINT judging")
    try:
        finding = alerts.find(cursor, rule=rule)
    except psycopg2.Error as error:  # a query that takes too long must not keep the other rules waiting
        cursor.execute("ROLLBACK TO SAVEPOINT judging")
        logger.error("The alert rule %s could not be judged: %s", rule.name, error)
        alerts.note(cursor, rule_id=rule.id)
        return True
    _apply(cursor, rule=rule, finding=finding)
    return True


def _apply(cursor: Any, *, rule: Rule, finding: Finding) -> None:
    found = move(rule.state, is_met=finding.is_met, quiet_seconds=rule.quiet_seconds, calm_seconds=rule.calm_seconds)
    match found:
        case Move.FIRE:
            _turn(cursor, rule=rule, finding=finding, state=RuleState.FIRING, event=DeliveryEvent.FIRING)
        case Move.RESOLVE:
            _turn(cursor, rule=rule, finding=finding, state=RuleState.OK, event=DeliveryEvent.RESOLVED)
        case Move.QUIET | Move.STIR:
            alerts.set_quiet(cursor, rule_id=rule.id, is_quiet=found is Move.QUIET)
            alerts.note(cursor, rule_id=rule.id, value=finding.value)
        case _:
            alerts.note(cursor, rule_id=rule.id, value=finding.value)


def _turn(cursor: Any, *, rule: Rule, finding: Finding, state: str, event: str) -> None:
    payload = {
        "rule": rule.name,
        "kind": rule.kind,
        "severity": rule.severity,
        "state": state,
        "value": finding.value,
        **_condition(rule),
        "url": f"{conf.PUBLIC_URL.rstrip('/')}{PAGES[RuleKind(rule.kind)]}" if conf.PUBLIC_URL else "",
    }
    alerts.turn(
        cursor, rule=rule, state=state, value=finding.value, event=event, payload=orjson.dumps(payload).decode()
    )


def _condition(rule: Rule) -> dict[str, Any]:
    if rule.kind in OF_EXCEPTIONS:
        return {
            "flow_name": rule.flow_name,
            "outcome": rule.outcome,
            "threshold": rule.threshold,
            "window_seconds": rule.window_seconds,
        }
    return {"age_seconds": rule.age_seconds}
