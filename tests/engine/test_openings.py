"""A claim begins the first tasks of fresh transactions; what was begun without our knowing is not taken for lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from dist_task import failpoints
from dist_task.database import connect
from dist_task.engine.loaded import LoadedFlow, Shelf, load
from dist_task.engine.slots import Slots
from dist_task.engine.store import leases
from dist_task.engine.store.claims import Claimed
from dist_task.errors import InvalidRequest
from dist_task.models import ExecutionLog, TaskRun
from flows.definition import FlowDefinition
from flows.fields import task_parameters
from flows.models import Flow, TaskDefinition
from flows.registry_rows import parse_stored
from tests.recording import claim
from transactions.models import Transaction

from .conftest import begin, finished, make_flow, stored
from .service import Service
from .test_transactions_run import http
from .worker import WorkerThread

pytestmark = pytest.mark.django_db(transaction=True)

A = {"id": "a", "type": "noop"}
B = {"id": "b", "type": "noop", "task_name": "pay"}
AFTER = {"id": "c", "type": "noop", "depends_on": ["a", "b"]}


@pytest.fixture
def cursor() -> Iterator[Any]:
    with closing(connect(autocommit=True)) as raw, raw.cursor() as cursor:
        yield cursor


def loaded(flow: Flow) -> LoadedFlow:
    return load(parse_stored(flow.definition, pinned=flow.task_definitions))


def slots(total: int = 100, *, per_target: int = 100) -> Slots:
    return Slots(total=total, per_target=per_target, per_transaction=32)


def taken(cursor: Any, flow: Flow, *, free: Slots | None = None) -> list[Claimed]:
    worker_id = leases.register(cursor, cluster="test", host="elsewhere", pid=1, lease_seconds=60)
    shelf = Shelf()
    shelf.put(flow.pk, flow=loaded(flow))
    told = shelf.openings(slots=free or slots())
    return claim(worker_id=worker_id, limit=10, openings=told)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"x": 1},
        {"a": {"n": 1}, "b": {"m": [1, "ü"]}},
        {"a": None, "pay": {"m": 2}},
        {"a": {"n": 1}, "": {"trap": True}},
        {"a": [1], "b": "text"},
    ],
)
def test_the_first_tasks_begin_with_what_python_would_give_them(cursor: Any, params: dict[str, Any]) -> None:
    TaskDefinition.objects.get_or_create(name="pay", defaults={"type": "noop"})
    flow = make_flow(A, B, AFTER)
    txn = stored(begin(flow, params=params))

    claimed = taken(cursor, flow)

    assert [(each.transaction_id, each.opened) for each in claimed] == [(txn.pk, True)]
    runs = {run.task_id: run for run in TaskRun.objects.filter(transaction=txn)}
    assert {(run.task_id, run.status, run.attempt, run.begun_by) for run in runs.values()} == {
        ("a", "running", 1, stored(txn.instance_id).owner),
        ("b", "running", 1, stored(txn.instance_id).owner),
    }
    definition = loaded(flow).definition
    assert {name: run.input for name, run in runs.items()} == {name: given(definition, name, params) for name in "ab"}


def given(definition: FlowDefinition, task_id: str, params: dict[str, Any]) -> dict[str, Any] | None:
    try:
        return task_parameters(definition.tasks[task_id], params=params)
    except InvalidRequest:
        return None


def test_no_more_are_opened_than_there_are_slots(cursor: Any) -> None:
    flow = make_flow(A, {"id": "z", "type": "noop"})
    for _ in range(5):
        begin(flow)

    claimed = taken(cursor, flow, free=slots(7))

    assert sorted(each.opened for each in claimed) == [False, False, True, True, True]
    assert TaskRun.objects.count() == 6


def test_what_a_verb_has_touched_is_not_opened(cursor: Any) -> None:
    flow = make_flow(A)
    txn = stored(begin(flow))
    Transaction.objects.filter(pk=txn.pk).update(revision=1)

    assert [each.opened for each in taken(cursor, flow)] == [False]
    assert not TaskRun.objects.exists()


def test_a_flow_with_input_fields_or_a_wide_opening_is_not_opened(cursor: Any) -> None:
    wide = loaded(make_flow(*({"id": f"t{n}", "type": "noop"} for n in range(33))))
    assert wide.opening is None
    shelf = Shelf()
    shelf.put("f", flow=wide)
    assert shelf.openings(slots=slots()) == b"{}"


@pytest.mark.parametrize(("point", "n"), [("claim.after", 1), ("commit.after", 1), ("commit.after", 3)])
def test_a_lost_answer_costs_no_attempt(
    start_worker: Callable[[], WorkerThread],  # noqa: F811  # the fixture
    service: Service,  # noqa: F811  # the fixture
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    n: int,
) -> None:
    """A manual task whose start mark is written, though the worker was not told, is called once and succeeds."""
    flow = make_flow(http("a", service), http("b", service, "a"))
    start_worker()
    finished(begin(flow))  # from now on the worker knows the flow

    monkeypatch.setattr(failpoints, "points", [failpoints.Failpoint.parse(f"{point}:{n}:cut")])
    monkeypatch.setattr(failpoints, "_counts", {})
    monkeypatch.setattr(failpoints, "hit", failpoints._hit)
    ids = [begin(flow) for _ in range(8)]

    assert {finished(instance_id).status for instance_id in ids} == {"success"}
    assert not ExecutionLog.objects.filter(event="worker_lost").exists()
    assert not TaskRun.objects.filter(attempt__gt=1).exists()
    assert failpoints._counts[point] >= n


def test_a_claim_is_told_of_the_flows_that_were_met_last(db: None) -> None:
    flow, shelf = loaded(make_flow(A)), Shelf()
    for n in range(100):
        shelf.put(f"f{n}", flow=flow)
    shelf.take("f3")

    told = json.loads(shelf.openings(slots=slots(7)))

    assert len(told) == 32 and {"f3", "f99", "f69"} <= told.keys() and "f68" not in told
    assert told["f3"] == {"most": 7, "roots": [{"task_id": "a", "task_name": None, "budget": 1}]}
    with pytest.raises(LookupError):
        shelf.take("nobody")
