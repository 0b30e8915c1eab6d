"""Connections that break at the worst moments, and a database that is away for longer than a lease."""

from __future__ import annotations

import time

import pytest

from dist_task.models import ExecutionLog
from tests.engine.conftest import stored
from tests.engine.worker import wait_for
from transactions.models import Transaction

from .conftest import Scene
from .wire import MOMENTS, Cut, Moment, Wire

pytestmark = pytest.mark.cluster

RECORD, CLAIM, RENEWAL = b"EXECUTE record_batch(", b"EXECUTE claim_due(", b"SET lease_until"
START = b"INSERT INTO transactions_transaction"
GIVEN_UP = ("worker_lost", "rescued", "fenced", "parked")
LEASE_SECONDS = 1.5
"""Of campaign.settings."""


def given_up() -> list[str]:
    """A cut connection is no death: nothing is taken back, no attempt counts as lost, no result comes late."""
    return list(ExecutionLog.objects.filter(event__in=GIVEN_UP).values_list("event", flat=True))


@pytest.mark.parametrize("moment", MOMENTS)
def test_connections_that_are_cut_at_a_statement_lose_and_repeat_nothing(
    wired_scene: Scene, wire: Wire, moment: Moment
) -> None:
    wire.plan(
        Cut(RECORD, moment=moment, hits=(1, 3, 6, 9, 12)),
        Cut(CLAIM, moment=moment, hits=(1, 3, 5)),
        Cut(RENEWAL, moment=moment, hits=(2,)),
        Cut(START, moment=moment, hits=(1, 4)),
    )

    assert wired_scene.run(repeat=2) == []

    assert {text: count for text, count in wire.cuts.items() if count < 2} == {RENEWAL: 1}, "they were really cut"
    assert given_up() == []


def test_connections_that_break_while_calls_are_made_lose_and_repeat_nothing(wired_scene: Scene, wire: Wire) -> None:
    """Nothing is under way at that moment: the next statement is sent into a closed connection."""
    service = wired_scene.service
    for _ in range(5):
        service.hold()
        wired_scene.begin(only="slow manual")
        wait_for(lambda: service.in_flight == 3)
        wire.break_all()
        service.let_go()
        wired_scene.await_ends()

    assert wired_scene.judge() == []
    assert given_up() == []
    assert set(Transaction.objects.values_list("status", flat=True)) == {"success"}
    assert len(service.calls) == 5 * 5, "each task was called once"


def test_an_outage_longer_than_the_lease_expires_nobodys_work(wired_scene: Scene, wire: Wire) -> None:
    """Calls are in flight when the database stands still; some end meanwhile, some afterwards."""
    service = wired_scene.service
    service.hold()
    wired_scene.begin(only="slow manual", repeat=5)
    wait_for(lambda: service.in_flight == 15)

    wire.hold()
    time.sleep(LEASE_SECONDS)
    service.let_go()
    time.sleep(1.5 * LEASE_SECONDS)
    wire.go_on()
    wired_scene.await_ends()

    assert wired_scene.judge() == []
    assert given_up() == []
    assert {stored(name).status for name in wired_scene.started} == {"success"}
    assert len(service.calls) == 5 * 3 + 5 * 2, "each task was called once"


@pytest.mark.matrix
def test_an_outage_with_broken_connections_expires_nobodys_work(wired_scene: Scene, wire: Wire) -> None:
    service = wired_scene.service
    service.hold()
    wired_scene.begin(only="slow manual", repeat=5)
    wait_for(lambda: service.in_flight == 15)

    wire.refuse()
    time.sleep(2.5 * LEASE_SECONDS)
    service.let_go()
    wire.go_on()
    wired_scene.await_ends()

    assert wired_scene.judge() == []
    assert given_up() == []
    assert len(service.calls) == 5 * 3 + 5 * 2, "each task was called once"
