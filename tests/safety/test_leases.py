"""Leases after an outage: they go on unless somebody took over, and nobody takes over too early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from dist_task.database import connect
from dist_task.engine.store import leases
from tests.engine.conftest import begin, make_flow, stored
from tests.recording import claim

pytestmark = pytest.mark.django_db(transaction=True)
SHORT = 0.001


@pytest.fixture
def cursor() -> Iterator[Any]:
    with closing(connect(autocommit=True)) as raw, raw.cursor() as cursor:
        yield cursor


def register(cursor: Any, *, seconds: float) -> int:
    return leases.register(cursor, cluster="test", host="elsewhere", pid=1, lease_seconds=seconds)


def a_holder_whose_lease_ran_out(cursor: Any) -> int:
    worker_id = register(cursor, seconds=60)
    begin(make_flow({"id": "a", "type": "noop"}), instance_id="held")
    claim(worker_id=worker_id, limit=1)
    leases.renew(cursor, worker_id=worker_id, lease_seconds=SHORT)
    cursor.execute("SELECT pg_sleep(0.01)")
    return worker_id


def test_a_lease_that_ran_out_goes_on_as_long_as_nobody_took_over(cursor: Any) -> None:
    holder = a_holder_whose_lease_ran_out(cursor)

    assert leases.renew(cursor, worker_id=holder, lease_seconds=60)

    assert leases.rescue(cursor) == 0
    assert stored("held").owner == holder


def test_a_lease_that_was_taken_over_never_goes_on(cursor: Any) -> None:
    holder = a_holder_whose_lease_ran_out(cursor)

    assert leases.rescue(cursor) == 1

    assert not leases.renew(cursor, worker_id=holder, lease_seconds=60)
    assert claim(worker_id=holder, limit=1) == []


def test_a_worker_that_retired_never_goes_on(cursor: Any) -> None:
    worker_id = register(cursor, seconds=60)

    leases.retire(cursor, worker_id=worker_id)

    assert not leases.renew(cursor, worker_id=worker_id, lease_seconds=60)


def test_a_rescuer_whose_own_lease_ran_out_takes_nothing_back(cursor: Any) -> None:
    """As after a standstill of the database: all leases have run out, that of the rescuer too."""
    a_holder_whose_lease_ran_out(cursor)
    rescuer = register(cursor, seconds=SHORT)
    cursor.execute("SELECT pg_sleep(0.01)")

    assert leases.rescue(cursor, by=rescuer) == 0


def test_a_rescuer_that_has_only_just_renewed_its_lease_leaves_others_the_time_to(cursor: Any) -> None:
    a_holder_whose_lease_ran_out(cursor)
    rescuer = register(cursor, seconds=4.0)

    assert leases.rescue(cursor, by=rescuer) == 0

    cursor.execute("SELECT pg_sleep(0.25)")  # a twentieth of its length
    assert leases.rescue(cursor, by=rescuer) == 1
