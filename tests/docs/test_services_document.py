"""docs/services.md has the statements of the barrier's table, and names the headers that are sent."""

from __future__ import annotations

import re
from pathlib import Path

from dist_task.barrier import SQL
from dist_task.executors.base import TaskCall

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "services.md"


def test_the_statements_are_those_that_make_the_table() -> None:
    documented = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert documented == ["".join(f"{statement};\n" for statement in statements) for statements in SQL.values()]


def test_every_header_of_a_call_is_named() -> None:
    call = TaskCall("order_1", "pay", op="action", item=0, attempt=1, config={}, input={}, timeout_seconds=1.0)

    documented = re.findall(r"^\| `([A-Za-z-]+)` \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert set(call.headers) <= set(documented)
