"""A worker that is killed or stopped leaves none of its functions at work beside the retry."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dist_task.models import TaskRun, Worker
from dist_task.states import TransactionStatus
from tests.engine.conftest import begin, finished, make_flow, stored
from tests.engine.worker import wait_for
from tests.safety.conftest import NurseryClient

from .functions import is_alive

MODULE = "tests.executors.functions"
AUTO = {"strategy": "auto", "max_attempts": 3, "interval": 0}
pytestmark = pytest.mark.cluster


@pytest.fixture
def nursery(transactional_db: None, tmp_path: Path) -> Iterator[NurseryClient]:
    client = NurseryClient(log=tmp_path / "log", TASK_MODULES=MODULE)
    yield client
    client.ask(do="stop")
    client.close()


@pytest.fixture
def ledger(settings: Any, tmp_path: Path) -> Path:
    settings.DIST_TASK = {**settings.DIST_TASK, "TASK_MODULES": (MODULE,)}
    return tmp_path / "ledger"


def started(nursery: NurseryClient, *, ledger: Path, function: str = "guarded", **more: Any) -> str:
    """The transaction of one function, which is at its first attempt, in a real drain's hands."""
    given = {"path": str(ledger), "seconds": 0.1, **more}
    task = {"id": "work", "type": "python", "config": {"function": function}, "timeout": 300, "retry": AUTO}
    instance_id = begin(make_flow({**task, "input": given}))
    mark = Path(f"{ledger}.inside")
    nursery.ask(do="start", points="", file=str(ledger.with_name("hits")), drains=1, items=[], wake_after=4.0)
    wait_for(mark.exists)
    return instance_id


def drain_of(instance_id: str) -> int:
    return Worker.objects.get(pk=stored(instance_id).owner).pid


def test_a_killed_workers_function_has_ended_before_it_is_tried_again(nursery: NurseryClient, ledger: Path) -> None:
    instance_id = started(nursery, ledger=ledger)
    first = ledger.with_name("first")
    first.write_text(Path(f"{ledger}.inside").read_text())

    os.kill(drain_of(instance_id), signal.SIGKILL)

    assert finished(instance_id).status == TransactionStatus.SUCCESS
    assert ledger.read_text().splitlines() == ["1 alone", "2 alone"]
    assert not is_alive(first)
    assert TaskRun.objects.get().maybe_executed


def test_a_stopped_workers_function_has_ended_before_it_is_tried_again(nursery: NurseryClient, ledger: Path) -> None:
    """Its lease runs out while it stands still; another worker takes over before it goes on."""
    instance_id = started(nursery, ledger=ledger)
    drain = drain_of(instance_id)

    nursery.ask(do="start", points="", file="", drains=2, items=[], wake_after=600.0)
    os.kill(drain, signal.SIGSTOP)

    try:
        assert finished(instance_id).status == TransactionStatus.SUCCESS
        assert ledger.read_text().splitlines() == ["1 alone", "2 alone"]
    finally:
        os.kill(drain, signal.SIGCONT)


def test_what_a_killed_workers_function_has_started_ends_too(nursery: NurseryClient, ledger: Path) -> None:
    path = ledger.with_name("pid")
    flow = make_flow(
        {
            "id": "work",
            "type": "python",
            "config": {"function": "hang"},
            "timeout": 300,
            "input": {"how": "start", "path": str(path)},
        }
    )
    instance_id = begin(flow)
    nursery.ask(do="start", points="", file="", drains=1, items=[], wake_after=4.0)
    heir = Path(f"{path}.heir")
    wait_for(heir.exists)

    os.kill(drain_of(instance_id), signal.SIGKILL)

    wait_for(lambda: not is_alive(heir) and not is_alive(path))
    assert finished(instance_id).status == TransactionStatus.FAILED
