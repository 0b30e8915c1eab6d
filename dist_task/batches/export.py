"""The items of a batch as CSV. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime
from io import StringIO

HEAD = ("item", "id", "instance_id", "result", "message", "at")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Spreadsheets take a text that begins like this for a formula, and run it; the last four are the wide forms."""
BYTE_ORDER_MARK = "\ufeff"
"""Without it Excel reads UTF-8 as something else."""

Row = tuple[int, int, str, str, str, datetime | None]


def as_csv(rows: Iterable[Row]) -> str:
    out = StringIO()
    out.write(BYTE_ORDER_MARK)
    writer = csv.writer(out)
    writer.writerow(HEAD)
    for item_id, target_id, name, status, message, at in rows:
        writer.writerow((item_id, target_id, cell(name), status, cell(message), at.isoformat() if at else ""))
    return out.getvalue()


def cell(text: str) -> str:
    """A text that no spreadsheet runs: an apostrophe before what would be a formula, also behind blanks."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA) else text
