"""Stored secrets are sealed with keys of their own, which can be exchanged."""

from __future__ import annotations

import os
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command

from dist_task.sealing import CannotSeal, new_key, seal, unseal
from flows.models import Secret
from flows.secret_rows import known, opened, store

OLD, NEW = new_key(), new_key()


@pytest.fixture
def keys(settings: Any) -> Any:
    def use(*given: str) -> None:
        settings.DIST_TASK = {**settings.DIST_TASK, "SECRETS_KEYS": given}

    use(OLD)
    return use


def rotated(*arguments: str) -> str:
    out = StringIO()
    call_command("rotate_secrets", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


@pytest.mark.django_db
def test_after_a_rotation_the_newest_key_alone_opens_them(keys: Any) -> None:
    store("A", value="first value", actor="x")
    keys(NEW, OLD)
    store("B", value="second value", actor="x")

    said = rotated()

    keys(NEW)
    assert said == "1 sealed anew, 1 sealed with the newest key before"
    assert opened(Secret.objects.values_list("name", "sealed")).values == {"A": "first value", "B": "second value"}
    assert rotated() == "0 sealed anew, 2 sealed with the newest key before"


@pytest.mark.django_db
def test_a_dry_run_counts_and_changes_nothing(keys: Any) -> None:
    before = store("A", value="first value", actor="x").sealed
    keys(NEW, OLD)

    said = rotated("--dry-run")

    assert said == "1 would be sealed anew, 0 sealed with the newest key before"
    assert Secret.objects.get().sealed == before


@pytest.mark.django_db
def test_what_no_key_opens_is_named_and_the_rest_is_done(keys: Any) -> None:
    store("LOST", value="first value", actor="x")
    keys(NEW)
    store("A", value="second value", actor="x")

    with pytest.raises(CommandError, match="1 could not be read"):
        rotated()

    assert opened(Secret.objects.values_list("name", "sealed")).faults == {
        "LOST": "none of the keys of this process opens it"
    }


@pytest.mark.django_db
def test_a_check_names_what_cannot_be_read(keys: Any) -> None:
    store("LOST", value="first value", actor="x")
    keys()

    (warning,) = [found for found in run_checks(databases=["default"]) if found.id == "dist_task.W001"]

    assert warning.msg == "1 stored secrets cannot be read: LOST."
    with pytest.raises(CommandError, match="no keys"):
        rotated()


def test_a_check_names_keys_that_are_none(keys: Any) -> None:
    keys(NEW, "no key", OLD[:-8])

    found = [message.msg for message in run_checks() if message.id == "dist_task.E005"]

    assert found == [f"Key {place} of DIST_TASK_SECRETS_KEYS is no key." for place in (2, 3)]
    assert "no key" not in found[0].replace("is no key", "")


def test_a_printed_key_is_a_key(keys: Any) -> None:
    keys(rotated("--new-key"))

    assert unseal(seal("a value", name="A"), name="A") == "a value"


def test_what_was_sealed_under_one_name_does_not_open_under_another(keys: Any) -> None:
    with pytest.raises(CannotSeal, match="another name"):
        unseal(seal("a value", name="A"), name="B")


def test_a_sealed_value_shows_nothing(keys: Any) -> None:
    assert "a value" not in seal("a value", name="A")
    assert seal("a value", name="A") != seal("a value", name="A")


def test_the_development_key_is_its_owners_alone() -> None:
    path = Path(django_settings.DATA_DIR) / "secrets_key"

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert path.read_text() not in (Path(django_settings.DATA_DIR) / "secret_key").read_text()


def test_a_variable_comes_before_a_file_and_a_file_before_a_row(
    keys: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.DIST_TASK = {**settings.DIST_TASK, "SECRETS_DIR": str(tmp_path)}
    for name in ("A", "B", "SHORT"):
        (tmp_path / name).write_text("abc\n" if name == "SHORT" else f"{name} of a file\n")
    (tmp_path / "BINARY").write_bytes(b"\xff\xfe\x00secret")
    monkeypatch.setenv("DIST_TASK_SECRET_A", "A of a variable")
    monkeypatch.setenv("DIST_TASK_SECRET_NO_TEXT", os.fsdecode(b"\xff\xfe\xfd\xfc\xfb"))

    values, faults = known(opened((name, seal(f"{name} of a row", name=name)) for name in ("A", "B", "C")))

    assert values == {"A": "A of a variable", "B": "B of a file", "C": "C of a row"}
    assert sorted(faults) == ["NO_TEXT", "SHORT"]
