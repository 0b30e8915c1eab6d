"""A start over the API whose connection to the database is cut: answered, or refused and asked again; never twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dist_task.invariants.check import verify
from flows.models import Flow
from tests.engine.conftest import make_flow
from tests.engine.worker import wait_for
from tests.house.supervisor import free_port
from transactions.models import Transaction

from .conftest import ROOT, campaign_environment, url_through
from .stage import Client
from .wire import MOMENTS, Cut, Moment, Wire

pytestmark = pytest.mark.cluster
TOGETHER, ALONE = b"EXECUTE start_transactions(", b"INSERT INTO transactions_transaction"
"""Plain starts go together; one that fails so is tried alone."""


@pytest.fixture
def flow(transactional_db: None) -> Flow:
    return make_flow({"id": "a", "type": "noop"})


@pytest.fixture
def client(flow: Flow, wire: Wire, tmp_path: Path) -> Iterator[Client]:
    """Of a web process that reaches the database over the wire, and has answered before."""
    client = Client(free_port())
    command = [sys.executable, str(ROOT / "manage.py"), "web", "--port", str(client.port)]
    environment = {**campaign_environment(), "DATABASE_URL": url_through(wire)}
    with (tmp_path / "log").open("w") as log:
        web = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    wait_for(client.is_answered, seconds=90)
    for number in range(2):
        client.start_surely(f"before_{number}", flow_id=flow.pk)
    yield client
    wire.plan()
    web.terminate()
    web.wait(timeout=30)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_start_that_is_cut_off_from_the_database_happens_once(
    client: Client, wire: Wire, flow: Flow, moment: Moment
) -> None:
    wire.plan(Cut(TOGETHER, moment=moment, hits=range(1, 90)), Cut(ALONE, moment=moment, hits=range(1, 90, 3)))

    answers = {f"cut_{n}": client.start_surely(f"cut_{n}", flow_id=flow.pk) for n in range(9)}
    cuts = Counter(wire.cuts)
    wire.plan()
    again = {name: client.start(name, flow_id=flow.pk) for name in answers}

    assert cuts[TOGETHER] >= 9 and cuts[ALONE] >= 2, cuts
    assert {answer.status for answer in again.values()} == {200}
    assert {answer.body["data"]["instance_id"] for answer in again.values()} == set(answers)
    assert Transaction.objects.filter(instance_id__in=answers).count() == 9
    assert Transaction.objects.count() == 11
    assert verify(never_pruned=True).violations == []
