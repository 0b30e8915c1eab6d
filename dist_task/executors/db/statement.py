"""Changes as SQL with markers for their values, which are bound by the driver. Pure.

`quote` writes a name, of a table perhaps with its schema, as an identifier of the database. Markers are `%s`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .change import Change, Condition

Quote = Callable[[str], str]
EXISTING = "existing"
"""What the row that is already there is called in an upsert of PostgreSQL."""
TESTS = {"is_null": "IS NULL", "is_not_null": "IS NOT NULL"}
OPERATORS = {"!=": "<>"}


class Statement(NamedTuple):
    text: str
    values: tuple[Any, ...] = ()


def statement_of(change: Change, *, quote: Quote) -> Statement:
    """The upsert is PostgreSQL's; MySQL makes it of an update and an insert."""
    return BUILDERS[change.operation](change, quote)


def insert(change: Change, quote: Quote) -> Statement:
    """An upsert's increments begin from nothing."""
    values = {**change.values, **change.increments}
    text = f"INSERT INTO {quote(change.table)} {_row(values, quote)}"
    return _returning(text, tuple(values.values()), change=change, quote=quote)


def update(change: Change, quote: Quote) -> Statement:
    return _update(change, values=change.values, where=change.where, quote=quote)


def update_by_key(change: Change, quote: Quote) -> Statement:
    """The row that an upsert finds: by the columns of its key, all else is set."""
    values = {column: value for column, value in change.values.items() if column not in change.conflict}
    if not values and not change.increments:
        values = {change.conflict[0]: change.values[change.conflict[0]]}
    where = tuple(Condition(column, "=", (change.values[column],)) for column in change.conflict)
    return _update(change, values=values, where=where, quote=quote)


def delete(change: Change, quote: Quote) -> Statement:
    text, values = _where(change.where, quote)
    return _returning(f"DELETE FROM {quote(change.table)}{text}", values, change=change, quote=quote)  # noqa: S608  # quoted


def upsert(change: Change, quote: Quote) -> Statement:
    values = {**change.values, **change.increments}
    key = ", ".join(map(quote, change.conflict))
    plain = [quote(column) for column in change.values if column not in change.conflict]
    grown = [quote(column) for column in change.increments]
    setting = [f"{column} = EXCLUDED.{column}" for column in plain]
    setting += [f"{column} = {quote(EXISTING)}.{column} + EXCLUDED.{column}" for column in grown]
    if not setting:  # DO NOTHING would count no row, and return none
        setting = [f"{quote(change.conflict[0])} = EXCLUDED.{quote(change.conflict[0])}"]
    text = (
        f"INSERT INTO {quote(change.table)} AS {quote(EXISTING)} {_row(values, quote)}"
        f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(setting)}"
    )
    return _returning(text, tuple(values.values()), change=change, quote=quote)


BUILDERS = {"insert": insert, "update": update, "delete": delete, "upsert": upsert}


def _row(columns: Iterable[str], quote: Quote) -> str:
    names = [quote(column) for column in columns]
    return f"({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"


def _update(change: Change, *, values: Any, where: tuple[Condition, ...], quote: Quote) -> Statement:
    setting = [f"{quote(column)} = %s" for column in values]
    setting += [f"{quote(column)} = {quote(column)} + %s" for column in change.increments]
    text, compared = _where(where, quote)
    bound = (*values.values(), *change.increments.values(), *compared)
    text = f"UPDATE {quote(change.table)} SET {', '.join(setting)}{text}"  # noqa: S608  # quoted
    return _returning(text, bound, change=change, quote=quote)


def _where(conditions: tuple[Condition, ...], quote: Quote) -> tuple[str, tuple[Any, ...]]:
    text = " AND ".join(_condition(condition, quote) for condition in conditions)
    return f" WHERE {text}", tuple(value for condition in conditions for value in condition.values)


def _condition(condition: Condition, quote: Quote) -> str:
    column = quote(condition.column)
    if condition.operator in TESTS:
        return f"{column} {TESTS[condition.operator]}"
    if condition.operator != "in":
        return f"{column} {OPERATORS.get(condition.operator, condition.operator)} %s"
    if not condition.values:
        return "1 = 0"
    return f"{column} IN ({', '.join(['%s'] * len(condition.values))})"


def _returning(text: str, values: tuple[Any, ...], *, change: Change, quote: Quote) -> Statement:
    if change.returning:
        text += f" RETURNING {', '.join(map(quote, change.returning))}"
    return Statement(text, values)
