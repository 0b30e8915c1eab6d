"""The sweeper: what dead workers held goes back to those that live, and counters are folded."""

from __future__ import annotations

from django.db import connection, transaction

from .store import leases


@transaction.atomic
def rescue() -> int:
    """Takes back what workers hold whose lease ran out; returns how many transactions that were."""
    with connection.cursor() as cursor:
        count = leases.rescue(cursor)
        if count:
            transaction.on_commit(_notify)
    return count


@transaction.atomic
def report_deaths(worker_ids: list[int]) -> int:
    """Whoever saw these workers die gives back at once what they held, instead of waiting for the lease to end."""
    with connection.cursor() as cursor:
        count = sum(leases.retire(cursor, worker_id=worker_id) for worker_id in worker_ids)
        transaction.on_commit(_notify)
    return count


def _notify() -> None:
    with connection.cursor() as cursor:
        leases.notify_all(cursor)
