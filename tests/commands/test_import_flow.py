from __future__ import annotations

import pytest

from flows.models import Flow
from tests.commands.rows import as_json

pytestmark = pytest.mark.django_db

DEFINITION = {"name": "orders", "tasks": [{"id": "pay", "type": "noop"}]}
FLOW = {"name": "orders", "flow_type": "shop", "definition": DEFINITION, "create_user": "ann"}


def test_a_flow_file_becomes_the_first_version(run, tmp_path):
    ran = run("import_flow", as_json(tmp_path / "f.json", data=FLOW))

    flow = Flow.objects.get()
    assert (ran.code, f"orders v1 is a new version, id {flow.pk}" in ran.out) == (0, True)
    assert (flow.flow_type, flow.create_user) == ("shop", "ann")


def test_the_same_file_again_changes_nothing_and_another_definition_is_the_next_version(run, tmp_path):
    path = as_json(tmp_path / "f.json", data=FLOW)
    run("import_flow", path)

    assert "orders v1 is unchanged" in run("import_flow", path).out
    as_json(tmp_path / "f.json", data={**FLOW, "definition": {"tasks": []}})
    assert "orders v2 is a new version" in run("import_flow", path).out


def test_a_bare_definition_takes_name_and_type_from_the_options(run, tmp_path):
    path = as_json(tmp_path / "d.json", data=DEFINITION)

    assert run("import_flow", path).code == 1
    ran = run("import_flow", path, "--type", "shop", "--name", "renamed")

    assert ran.code == 0
    assert (Flow.objects.get().name, Flow.objects.get().create_user[:8]) == ("renamed", "command:")


def test_a_dry_run_checks_and_writes_nothing(run, tmp_path):
    ran = run("import_flow", as_json(tmp_path / "f.json", data=FLOW), "--dry-run")

    assert "orders v1 would be a new version" in ran.out
    assert not Flow.objects.exists()


def test_all_problems_of_all_files_are_told_and_nothing_is_imported(run, tmp_path):
    good = as_json(tmp_path / "good.json", data=FLOW)
    tasks = [{"id": "a", "type": "noop", "depends_on": ["nobody"]}, {"id": "b", "type": "magic"}]
    bad = as_json(tmp_path / "bad.json", data={**FLOW, "name": "bad", "definition": {"tasks": tasks}})
    broken = tmp_path / "broken.json"
    broken.write_text("{")

    ran = run("import_flow", good, bad, str(broken))

    assert ran.code == 1
    assert f"{bad}: definition.tasks[0].depends_on[0]" in ran.err or f"{bad}: tasks[0].depends_on[0]" in ran.err
    assert "tasks[1].type" in ran.err
    assert f"{broken}: is not JSON" in ran.err
    assert "3 problems, nothing was imported" in ran.err
    assert not Flow.objects.exists()


def test_a_file_that_cannot_be_read_is_a_wrong_argument(run):
    assert run("import_flow", "/nowhere/flow.json").code == 2


@pytest.mark.parametrize("key", ["name", "flow_type", "create_user", "description"])
def test_words_that_cannot_be_stored_are_problems_of_the_file(run, tmp_path, key):
    path = as_json(tmp_path / "f.json", data={**FLOW, key: "a\0b"})

    ran = run("import_flow", path)

    assert (ran.code, f"{path}: {key}: " in ran.err) == (1, True)
    assert not Flow.objects.exists()
