"""Deliveries: taken when due, and what became of them. An attempt is counted before it is made, as everywhere."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import F
from django.db.models.functions import Now

from dist_task.alerts.models import ATTEMPTS, Delivery, DeliveryLog
from dist_task.alerts.words import DeliveryStatus

HIDDEN_SECONDS = 120.0
"""For so long a delivery that was taken is nobody else's; a deliverer that died left it, and then it is due again."""
MOST_PER_CHANNEL = 16
MOST_GIVEN_UP = 500


class Taken(NamedTuple):
    """`payload`: JSON. `now`: the database's clock, in seconds since 1970."""

    id: int
    attempt: int
    message_id: str
    event: str
    timestamp: str
    payload: str
    channel_id: int
    channel_name: str
    kind: str
    url: str
    recipients: str
    secret: str
    language: str
    now: float


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended; without `error` it was delivered. `delay_seconds` until the next one, None for never.

    `channel_is_gone`: why nothing is to be sent there any more.
    """

    error: str = ""
    response_status: int | None = None
    response: str = ""
    delay_seconds: float | None = None
    channel_is_gone: str = ""


def take(cursor: Any, *, busy: Collection[int], lag_seconds: float = 0.0) -> list[Taken]:
    """What is due, some of each active channel that is not `busy`; with a lag what has been due for so long."""
    cursor.execute(
        """
        WITH ready AS MATERIALIZED (
            SELECT due.id FROM alerts_channel c CROSS JOIN LATERAL (
                SELECT d.id FROM alerts_delivery d
                WHERE d.channel_id = c.id AND d.due_at <= statement_timestamp() - %(lag)s * interval '1 second'
                ORDER BY d.due_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
            ) due
            WHERE c.is_active AND NOT c.id = ANY(%(busy)s::bigint[])
        )
        UPDATE alerts_delivery d
        SET attempts = attempts + 1, last_at = clock_timestamp(),
            due_at = clock_timestamp() + %(hidden)s * interval '1 second'
        FROM alerts_channel c
        WHERE d.id IN (SELECT id FROM ready) AND c.id = d.channel_id
        RETURNING d.id, d.attempts, d.message_id::text, d.event,
            to_char(d.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), d.payload::text,
            c.id, c.name, c.kind, c.url, c.recipients, c.secret, c.language,
            EXTRACT(EPOCH FROM clock_timestamp())::float8
        """,
        {"lag": lag_seconds, "most": MOST_PER_CHANNEL, "busy": list(busy), "hidden": HIDDEN_SECONDS},
    )
    return [Taken(*row) for row in cursor.fetchall()]


def record(cursor: Any, *, taken: Taken, ended: Ended) -> None:
    """Nothing when somebody else has taken it meanwhile: then that attempt counts."""
    cursor.execute(
        """
        WITH ended AS (
            UPDATE alerts_delivery
            SET status = CASE WHEN %(error)s = '' THEN 'delivered'
                    WHEN %(delay)s::float8 IS NULL OR attempts >= attempt_budget THEN 'given_up' ELSE 'retrying' END,
                due_at = CASE WHEN %(error)s <> '' AND attempts < attempt_budget
                    THEN clock_timestamp() + %(delay)s::float8 * interval '1 second' END,
                finished_at = CASE WHEN %(error)s = '' OR %(delay)s::float8 IS NULL OR attempts >= attempt_budget
                    THEN clock_timestamp() END,
                last_error = %(error)s, response_status = %(code)s, response = %(response)s
            WHERE id = %(id)s AND attempts = %(attempt)s AND due_at IS NOT NULL
            RETURNING id, attempts
        ), gone AS (
            UPDATE alerts_channel SET is_active = false, why_inactive = %(gone)s
            WHERE id = %(channel)s AND is_active AND %(gone)s <> ''
        )
        INSERT INTO alerts_deliverylog (delivery_id, event, attempt, message, response_status, response)
        SELECT id, CASE WHEN %(error)s = '' THEN 'delivered' ELSE 'failed' END, attempts, %(error)s, %(code)s,
               %(response)s
        FROM ended WHERE %(error)s <> '' OR attempts > 1
        """,
        {
            "error": ended.error,
            "delay": ended.delay_seconds,
            "code": ended.response_status,
            "response": ended.response,
            "gone": ended.channel_is_gone,
            "id": taken.id,
            "attempt": taken.attempt,
            "channel": taken.channel_id,
        },
    )


def give_up_of_inactive(cursor: Any, *, reason: str) -> int:
    """What waits for channels that are switched off; some at a time."""
    cursor.execute(
        """
        UPDATE alerts_delivery SET status = 'given_up', due_at = NULL, finished_at = clock_timestamp(), last_error = %s
        WHERE id IN (
            SELECT waiting.id FROM alerts_channel c CROSS JOIN LATERAL (
                SELECT d.id FROM alerts_delivery d WHERE d.channel_id = c.id AND d.due_at IS NOT NULL
                LIMIT %s FOR NO KEY UPDATE SKIP LOCKED
            ) waiting WHERE NOT c.is_active
        )
        """,
        (reason, MOST_GIVEN_UP),
    )
    return int(cursor.rowcount)


def renew(*, delivery_id: int) -> bool:
    """Due now, with a fresh budget. False while its first attempt is still to come."""
    return bool(
        Delivery.objects.filter(pk=delivery_id)
        .exclude(status=DeliveryStatus.PENDING)
        .update(
            status=DeliveryStatus.PENDING,
            due_at=Now(),
            finished_at=None,
            attempt_budget=F("attempts") + ATTEMPTS,
        )
    )


def write_log(delivery_id: int, *, event: str, actor: str, message: str) -> None:
    DeliveryLog.objects.create(delivery_id=delivery_id, event=event, actor=actor, message=message)
