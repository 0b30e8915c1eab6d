"""docs/plugins.md shows the code of examples/plugin as it is, and names all of its files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
PLUGIN = ROOT / "examples" / "plugin"
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in PLUGIN.iterdir() if path.is_file()}
BLOCKS = re.findall(r"```(python|toml)\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize(("language", "code"), BLOCKS, ids=[code.splitlines()[0] for _language, code in BLOCKS])
def test_its_code_is_that_of_the_package(language: str, code: str) -> None:
    assert any(code in source for source in SOURCES.values())


def test_its_flow_is_that_of_the_package() -> None:
    flow, connections = (json.loads(each) for each in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL))

    assert flow == json.loads(SOURCES["flow.json"])
    assert set(connections) == {flow["tasks"][0]["config"]["connection"]}


def test_every_file_is_named_and_there() -> None:
    named = set(re.findall(r"^\| `examples/plugin/(\S+)` \|", PAGE, flags=re.MULTILINE))

    assert named == set(SOURCES)
