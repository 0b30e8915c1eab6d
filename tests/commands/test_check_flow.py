from __future__ import annotations

import io
import json

import pytest

from flows.models import Flow
from tests.commands.rows import as_json

pytestmark = pytest.mark.django_db

SOUND = {"name": "orders", "tasks": [{"id": "pay", "type": "noop"}]}
FAULTY = {"tasks": [{"id": "pay", "type": "noop", "dependson": []}, {"id": "ship", "type": "magic"}]}


@pytest.mark.parametrize("body", [SOUND, {"name": "orders", "flow_type": "shop", "definition": SOUND}])
def test_a_sound_definition_is_told_so_and_not_registered(run, tmp_path, body):
    ran = run("check_flow", as_json(tmp_path / "f.json", data=body))

    assert (ran.code, ran.out) == (0, "The definition is sound.\n")
    assert not Flow.objects.exists()


@pytest.mark.parametrize("definition", [FAULTY, json.dumps(FAULTY)])
def test_every_problem_is_a_line_with_its_path(run, tmp_path, definition):
    ran = run("check_flow", as_json(tmp_path / "f.json", data={"definition": definition}))

    first, second = ran.out.splitlines()
    assert first == "tasks[0].dependson: unknown key (did you mean depends_on?)"
    assert second.startswith("tasks[1].type: task type 'magic' is not available")
    assert (ran.code, ran.err) == (1, "2 problems")


def test_as_json_it_is_what_the_api_answers(run, tmp_path):
    faulty = run("check_flow", as_json(tmp_path / "f.json", data=FAULTY), "--json")
    sound = run("check_flow", as_json(tmp_path / "s.json", data=SOUND), "--json")

    assert (faulty.code, sound.code) == (1, 0)
    assert json.loads(faulty.out)["problems"][0] == {
        "path": "tasks[0].dependson",
        "message": "unknown key",
        "hint": "did you mean depends_on?",
    }
    assert json.loads(sound.out) == {"valid": True, "problems": [], "warnings": []}


def test_warnings_are_told_apart_and_are_no_failure(run, tmp_path):
    get = {"id": "look", "type": "http", "config": {"url": "http://a/b", "method": "GET"}, "compensate": {}}
    get["compensate"] = {"config": {"url": "http://a/undo"}}

    ran = run("check_flow", as_json(tmp_path / "f.json", data={"tasks": [get]}))

    assert ran.code == 0
    first, last = ran.out.splitlines()
    assert first.startswith("warning: tasks[0].compensate: undoes a call that changes nothing")
    assert last == "The definition is sound."


def test_problems_speak_chinese(run, tmp_path):
    ran = run("check_flow", as_json(tmp_path / "f.json", data=FAULTY), "--language", "zh-hans")

    assert ran.out.startswith("tasks[0].dependson: 未知的键")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"definition": null}', "{" * 100_000, '{"definition": ' + "9" * 5000])
def test_what_is_no_definition_is_a_problem(run, monkeypatch, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    ran = run("check_flow", "-")

    assert (ran.code, ran.out[:12]) == (1, "definition: ")


def test_a_file_that_cannot_be_read_is_a_wrong_argument(run):
    assert run("check_flow", "/nowhere/flow.json").code == 2
