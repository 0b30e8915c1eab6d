"""db tasks in flows: from the API's check to the rows of two databases, by real workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from campaign.workload import AUTO
from dist_task.invariants.check import verify
from dist_task.models import TaskRun
from dist_task.problems import InvalidValue
from flows.register import register as register_flow
from tests.engine.conftest import begin, finished, make_flow
from tests.engine.worker import WorkerThread
from tests.safety.conftest import NurseryClient

from .conftest import registered
from .shops import Shop

TAKE = {
    "connection": "bank",
    "operation": "update",
    "table": "accounts",
    "decrement": {"balance": 30},
    "where": {"id": "ann", "balance": {"op": ">=", "value": 30}},
    "expect_rows": 1,
}
GIVE = {
    "connection": "shop",
    "operation": "upsert",
    "table": "accounts",
    "values": {"id": "ann"},
    "increment": {"balance": 30},
    "conflict": ["id"],
}
TRANSFER = (
    {"id": "take", "config": TAKE, "retry": AUTO},
    {"id": "give", "config": GIVE, "depends_on": ["take"], "retry": AUTO},
)


@pytest.fixture
def bank(shops: Callable[[str], Shop], settings: Any) -> Shop:
    return registered(shops("postgresql"), settings=settings, name="bank")


@pytest.fixture
def worker(transactional_db: None) -> Iterator[WorkerThread]:
    worker = WorkerThread().start()
    yield worker
    worker.stop()
    assert not verify(never_pruned=True).violations


def test_money_moves_from_one_database_to_another(bank: Shop, maria: Shop, worker: WorkerThread) -> None:
    transaction = finished(begin(make_flow(*TRANSFER)))

    assert transaction.status == "success"
    assert (bank.balance("ann"), maria.balance("ann")) == (70, 130)


def test_the_parameters_of_a_transaction_become_a_row(bank: Shop, worker: WorkerThread) -> None:
    config = {"connection": "bank", "operation": "insert", "table": "accounts", "returning": ["id"]}
    flow = make_flow({"id": "open", "task_name": "db", "config": config})

    instance_id = begin(flow, params={"open": {"id": "eve", "balance": 5, "note": "扣款"}})

    assert finished(instance_id).status == "success"
    assert TaskRun.objects.get(transaction__instance_id=instance_id).output == {"rows": 1, "returning": [{"id": "eve"}]}
    assert bank.balance("eve") == 5


def test_what_a_connection_does_not_allow_is_refused_when_it_is_posted(bank: Shop, transactional_db: None) -> None:
    wrong = {**TAKE, "where": {}, "decrement": {"secret": 1}}
    tasks = [{"id": "take", "config": TAKE}, {"id": "wrong", "config": wrong}]

    with pytest.raises(InvalidValue) as caught:
        register_flow(name="transfer", flow_type="t", definition={"tasks": tasks}, create_user="x")

    assert [problem.path for problem in caught.value.problems] == ["tasks[1].config.where"]


def test_a_missing_balance_is_a_failure_for_a_person(bank: Shop, worker: WorkerThread) -> None:
    bank.run("UPDATE accounts SET balance = 29")

    transaction = finished(begin(make_flow(TRANSFER[0])))

    run = TaskRun.objects.get(transaction=transaction)
    assert (transaction.status, run.error_code, run.attempt) == ("failed", "UNEXPECTED_ROWS", 1)
    assert bank.balance("ann") == 29


@pytest.mark.parametrize("killed", ["take", "give"])
def test_a_worker_that_is_killed_after_the_commit_does_not_act_twice(
    bank: Shop, maria: Shop, transactional_db: None, tmp_path: Path, killed: str
) -> None:
    connections = {"bank": bank.config(), "shop": maria.config()}
    settings = {"DJANGO_SETTINGS_MODULE": "tests.executors.shop_settings", "SHOP_CONNECTIONS": json.dumps(connections)}
    nursery = NurseryClient(log=tmp_path / "log", **settings)
    flow = make_flow(*TRANSFER)
    point = f"call.after/{killed}:1:kill"

    instance_id = begin(flow)
    nursery.ask(do="start", points=point, file=str(tmp_path / "hits"), drains=1, items=[], wake_after=3.0)
    transaction = finished(instance_id)
    deaths = nursery.ask(do="stop")["deaths"]
    nursery.close()

    assert (transaction.status, deaths) == ("success", 1)
    assert TaskRun.objects.get(transaction=transaction, task_id=killed).attempt == 2
    assert (bank.balance("ann"), maria.balance("ann")) == (70, 130)
    assert len(bank.barrier) == len(maria.barrier) == 1
