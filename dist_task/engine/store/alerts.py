"""Alert rules: whose turn it is, what it finds, and a transition with its deliveries, written together.

A rule's row is the lock: of several evaluators one has it, and the others pass it by. What a rule asks is answered by
an index, and bounded where an index alone would not bound it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dist_task.alerts.words import RuleKind

MOST_COUNTED = 1_000
MOST_SCANNED = 50_000
"""Open exceptions that one look reads at the most, the newest: beyond that a rule has long been firing."""
LONGEST_QUERY = "2s"


class Rule(NamedTuple):
    id: int
    name: str
    kind: str
    severity: str
    flow_name: str
    outcome: str
    threshold: int
    window_seconds: int
    age_seconds: int
    calm_seconds: int
    state: str
    sequence: int
    quiet_seconds: float | None


class Finding(NamedTuple):
    """`value`: exceptions, or seconds."""

    is_met: bool
    value: float


def take_next(cursor: Any, *, every_seconds: float) -> Rule | None:
    """The rule that was looked at longest ago, locked; None when none is due that nobody else looks at."""
    cursor.execute(
        """
        SELECT id, name, kind, severity, flow_name, outcome, threshold, window_seconds, age_seconds, calm_seconds,
               state, sequence, EXTRACT(EPOCH FROM statement_timestamp() - quiet_since)::float8
        FROM alerts_alertrule
        WHERE is_active AND checked_at <= statement_timestamp() - %s * interval '1 second'
        ORDER BY checked_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
        """,
        (every_seconds,),
    )
    row = cursor.fetchone()
    return Rule(*row) if row else None


def find(cursor: Any, *, rule: Rule) -> Finding:
    cursor.execute("SELECT set_config('statement_timeout', %s, true)", (LONGEST_QUERY,))
    match rule.kind:
        case RuleKind.NOTHING_RUNS:
            return _nothing_runs(cursor, rule=rule)
        case RuleKind.OLDEST_DUE:
            return _oldest_due(cursor, rule=rule)
    return _exceptions(cursor, rule=rule)


def _exceptions(cursor: Any, *, rule: Rule) -> Finding:
    """With a window by exception_open_last, without one by exception_status_newest."""
    newest = "last_at > statement_timestamp() - %(window)s * interval '1 second' ORDER BY last_at DESC"
    cursor.execute(
        f"""
        SELECT count(*) FROM (
            SELECT FROM (
                SELECT flow_id, outcome, op FROM exceptions_app_exceptionrecord
                WHERE status = 'open' AND {newest if rule.window_seconds else "true ORDER BY id DESC"}
                LIMIT {MOST_SCANNED}
            ) x
            WHERE (%(flow)s = '' OR flow_id IN (SELECT id FROM flows_flow WHERE name = %(flow)s))
              AND (%(outcome)s = '' OR outcome = %(outcome)s) AND (NOT %(undoing)s OR op = 'compensate')
            LIMIT %(most)s
        ) counted
        """,  # noqa: S608  # parts of ours
        {
            "window": rule.window_seconds,
            "flow": rule.flow_name,
            "outcome": rule.outcome,
            "undoing": rule.kind == RuleKind.COMPENSATION,
            "most": max(MOST_COUNTED, rule.threshold),
        },
    )
    count = cursor.fetchone()[0]
    return Finding(count >= rule.threshold, count)


def _nothing_runs(cursor: Any, *, rule: Rule) -> Finding:
    """The table holds the workers of a day. Where there has been none at all, that is long enough."""
    cursor.execute("SELECT EXTRACT(EPOCH FROM statement_timestamp() - max(lease_until))::float8 FROM dist_task_worker")
    seconds = cursor.fetchone()[0]
    if seconds is None:
        return Finding(True, rule.age_seconds)
    return Finding(seconds >= max(rule.age_seconds, 0.001), max(seconds, 0.0))


def _oldest_due(cursor: Any, *, rule: Rule) -> Finding:
    """By transaction_due, as /readyz asks. What workers hold is under way, however long ago it fell due."""
    cursor.execute(
        """
        SELECT EXTRACT(EPOCH FROM statement_timestamp() - min(wake_at))::float8 FROM transactions_transaction
        WHERE wake_at <= statement_timestamp() AND owner IS NULL
        """
    )
    seconds = cursor.fetchone()[0] or 0.0
    return Finding(seconds > rule.age_seconds, seconds)


def note(cursor: Any, *, rule_id: int, value: float | None = None) -> None:
    """It was looked at, and nothing changes. Without a `value` the look failed."""
    cursor.execute(
        "UPDATE alerts_alertrule SET checked_at = clock_timestamp(), value = COALESCE(%s, value) WHERE id = %s",
        (value, rule_id),
    )


def set_quiet(cursor: Any, *, rule_id: int, is_quiet: bool) -> None:
    cursor.execute(
        "UPDATE alerts_alertrule SET quiet_since = CASE WHEN %s THEN clock_timestamp() END WHERE id = %s",
        (is_quiet, rule_id),
    )


def turn(cursor: Any, *, rule: Rule, state: str, value: float, event: str, payload: str) -> int:
    """The transition, and one delivery for each active channel. Returns how many those are.

    `payload`: JSON, to which the number of the transition and its time are added.
    """
    cursor.execute(
        """
        WITH turned AS (
            UPDATE alerts_alertrule
            SET state = %(state)s, since = clock_timestamp(), sequence = sequence + 1, quiet_since = NULL,
                checked_at = clock_timestamp(), value = %(value)s
            WHERE id = %(id)s AND sequence = %(sequence)s RETURNING id, name, sequence, since
        )
        INSERT INTO alerts_delivery (key, channel_id, event, subject, payload)
        SELECT format('alert:%%s:%%s:%%s', t.id, t.sequence, c.id), c.id, %(event)s, t.name,
               %(payload)s::jsonb || jsonb_build_object('sequence', t.sequence,
                   'since', to_char(t.since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
        FROM turned t
        JOIN alerts_alertrule_channels told ON told.alertrule_id = t.id
        JOIN alerts_channel c ON c.id = told.channel_id AND c.is_active
        ON CONFLICT (key) DO NOTHING
        """,
        {
            "state": state,
            "value": value,
            "id": rule.id,
            "sequence": rule.sequence,
            "event": event,
            "payload": payload,
        },
    )
    return int(cursor.rowcount)
