"""script/example approval; and that its check sees what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from examples.approval.expenses import EXPENSES, complaints

from .conftest import example


@pytest.mark.cluster
@pytest.mark.slow
def test_only_what_is_small_or_approved_is_paid() -> None:
    done = example("approval")

    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert [line.strip() for line in said if "accounting pays" in line] == [
        "accounting pays 499.99 to ann",
        "accounting pays 500.00 to bob",
    ]
    assert sum("waits for a supervisor: " in line for line in said) == 3
    assert "    otto tries to approve: 400: only members of supervisor may decide this" in said
    assert "  exception of approve: REJECTED, sue rejected it: not this year" in said
    assert "  exception of approve: NO_ANSWER, no answer came in time" in said
    assert said[-1] == "everything that was paid was small, or approved by a supervisor"


def judged(change: Callable[[dict[str, Any]], object]) -> list[str]:
    """What is said of accounting that is as it should be, but for a change."""
    paid: dict[str, Any] = {
        "expense-small": {"cents": 49_999, "approval": None},
        "expense-approved": {
            "cents": 50_000,
            "approval": {"approved_by": "sue", "remark": "within the budget"},
        },
    }
    change(paid)
    return complaints(EXPENSES, paid=paid, approver="sue")


def test_nothing_is_said_where_all_fits() -> None:
    assert judged(lambda paid: None) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda paid: paid.pop("expense-small"), "None cents were paid instead of 49999"),
        (lambda paid: paid.update({"expense-rejected": {}}), "expense-rejected was paid"),
        (lambda paid: paid.update({"expense-forgotten": {}}), "expense-forgotten was paid"),
        (lambda paid: paid["expense-small"].update(cents=1), "1 cents were paid"),
        (lambda paid: paid["expense-approved"].update(approval=None), "accounting was told None"),
        (lambda paid: paid["expense-approved"]["approval"].update(approved_by="otto"), "'approved_by': 'otto'"),
    ],
)
def test_what_does_not_fit_is_seen(change: Callable[[dict[str, Any]], object], sentence: str) -> None:
    assert any(sentence in each for each in judged(change))
