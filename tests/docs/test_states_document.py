"""docs/states.md tells what dist_task/states.py does: tables and diagrams are the moves, no more, no less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dist_task import states

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "states.md"
SECTIONS = {
    "Transaction": states.TRANSACTION_MOVES,
    "Task run": states.RUN_MOVES,
    "Compensation": states.COMPENSATION_MOVES,
    "Exception": states.EXCEPTION_MOVES,
}


def section(title: str) -> str:
    parts = re.split(r"^## (.+)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


@pytest.mark.parametrize("title", SECTIONS)
def test_the_table_has_exactly_the_legal_moves(title):
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section(title), flags=re.MULTILINE)

    assert {status: set(re.findall(r"`(\w+)`", targets)) for status, targets in rows} == SECTIONS[title]


@pytest.mark.parametrize("title", SECTIONS)
def test_the_diagram_has_exactly_the_legal_moves(title):
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", section(title), flags=re.DOTALL)
    arrows = re.findall(r"^\s*(\w+) --> (\w+)", diagram[1], flags=re.MULTILINE)

    assert set(arrows) == {(source, target) for source, targets in SECTIONS[title].items() for target in targets}


@pytest.mark.parametrize(
    ("title", "final"), [("Transaction", states.FINAL_TRANSACTION), ("Task run", states.FINAL_RUN)]
)
def test_the_final_statuses_are_named(title, final):
    line = re.search(r"^Final: (.+?)\.", section(title), flags=re.MULTILINE)

    assert set(re.findall(r"`(\w+)`", line[1])) == final
