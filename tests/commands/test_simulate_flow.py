from __future__ import annotations

import json

import pytest

from flows.models import Flow
from tests.api.conftest import Api
from tests.commands.rows import as_json
from transactions.models import Transaction

pytestmark = pytest.mark.django_db

UNDO = {"compensate": {}}
TASKS = [
    {"id": "reserve", "type": "noop", **UNDO},
    {"id": "quote", "type": "noop"},
    {"id": "charge", "type": "noop", "depends_on": ["reserve", "quote"], **UNDO},
    {"id": "gift", "type": "noop", "depends_on": ["charge"], "optional": True},
    {"id": "ship", "type": "noop", "depends_on": ["charge"]},
    {"id": "thank", "type": "noop", "depends_on": ["ship"]},
]


@pytest.fixture
def undoing(tmp_path):
    return as_json(tmp_path / "undoing.json", data={"on_failure": "compensate", "tasks": TASKS})


@pytest.fixture
def waiting(tmp_path):
    return as_json(tmp_path / "waiting.json", data={"tasks": TASKS})


def test_the_plan_of_a_failure_that_is_undone(run, undoing):
    ran = run("simulate_flow", undoing, "--fail", "ship", "gift")

    assert ran.out.splitlines() == [
        "  step 1: reserve, quote",
        "  step 2: charge",
        "  step 3: gift (fails, but it is optional), ship (fails)",
        "Never started: thank",
        "The transaction ends: failed, compensation: done.",
        "What was done is undone:",
        "  step 1: charge",
        "  step 2: reserve",
        "Passed over, for it has no compensate: quote",
    ]
    assert (ran.code, Flow.objects.count(), Transaction.objects.count()) == (0, 0, 0)


def test_the_plan_of_a_failure_that_waits_for_a_person(run, waiting):
    ran = run("simulate_flow", waiting, "--unknown", "charge", "--fail-undo", "charge")

    assert ran.out.splitlines() == [
        "  step 1: reserve, quote",
        "  step 2: charge (outcome unknown)",
        "Never started: gift, ship, thank",
        "The transaction ends: failed, compensation: none.",
        "If somebody asked for it, this would be undone:",
        "  step 1: charge (fails)",
        "  step 2: reserve (never, for one before it fails)",
        "Passed over, for it has no compensate: quote",
        "Compensation would end: failed.",
        "A person finds an exception: the outcome of charge is unknown",
    ]


def test_the_plan_of_a_failed_compensation(run, undoing):
    ran = run("simulate_flow", undoing, "--unknown", "charge", "--skip", "quote", "--fail-undo", "reserve")

    assert ran.out.splitlines() == [
        "  step 1: reserve, quote (skipped)",
        "  step 2: charge (outcome unknown)",
        "Never started: gift, ship, thank",
        "The transaction ends: failed, compensation: failed.",
        "What was done is undone:",
        "  step 1: charge (it may have been executed)",
        "  step 2: reserve (fails)",
        "A person finds an exception: the outcome of charge is unknown",
        "A person finds an exception: the compensation of reserve has failed",
    ]


def test_the_plan_of_a_flow_without_tasks(run, tmp_path):
    ran = run("simulate_flow", as_json(tmp_path / "f.json", data={"tasks": []}))

    assert ran.out.splitlines() == [
        "Nothing runs: the flow has no tasks.",
        "The transaction ends: success, compensation: none.",
        "If somebody asked for it, nothing would be undone.",
    ]


def test_as_json_it_is_what_the_api_answers(run, undoing):
    ran = run("simulate_flow", undoing, "--fail", "ship", "--json")

    body = {"definition": {"on_failure": "compensate", "tasks": TASKS}, "fail": ["ship"]}
    assert json.loads(ran.out) == Api().post("/api/v1/flows/simulate", body).data


def test_a_task_that_is_not_there_is_a_wrong_argument_that_names_it(run, undoing):
    ran = run("simulate_flow", undoing, "--fail", "ship", "shipp")

    assert (ran.code, ran.err) == (2, "fail[1]: there is no task shipp (did you mean ship?)")


def test_the_plan_speaks_chinese(run, undoing):
    ran = run("simulate_flow", undoing, "--fail", "shipp", "--language", "zh-hans")

    assert "没有" in ran.err


def test_a_definition_that_cannot_be_run_is_not_simulated(run, tmp_path):
    path = as_json(tmp_path / "f.json", data={"tasks": [{"id": "a", "type": "magic"}]})

    ran = run("simulate_flow", path)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("tasks[0].type: ")
