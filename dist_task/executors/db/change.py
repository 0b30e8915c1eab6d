"""What a task wants done, as a value: its configuration and parameters, judged by what its connection allows. Pure.

At the post of a flow the parameters are not known, and a value may be a template; at an attempt everything is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils.translation import gettext as _

from dist_task.executors.http import unknown_keys
from dist_task.payload import UNSTORABLE, body_of
from dist_task.problems import Fault

from .access import OPERATIONS, TEMPLATE, Access, Table, shown_name

COMMON_KEYS = ("connection", "operation", "table", "expect_rows", "returning")
KEYS_OF = {
    "insert": ("values",),
    "update": ("values", "increment", "decrement", "where"),
    "delete": ("where",),
    "upsert": ("values", "increment", "decrement", "conflict"),
}
KEYS = frozenset(COMMON_KEYS).union(*KEYS_OF.values())
COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
TESTS = ("is_null", "is_not_null")
OPERATORS = (*COMPARISONS, "in", *TESTS)
MOST_LISTED = 1_000
MOST_DIGITS = 1_000
EXACT = range(-30, 30)
"""Floats of this magnitude are written as decimals, whose digits no database rounds; others as floats."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`values`: none for a test, one for a comparison, any number for `in`."""

    column: str
    operator: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """`values` and `increments` may be bound as they are: None, bool, int, Decimal, float, str."""

    operation: str
    table: str
    values: Mapping[str, Any]
    increments: Mapping[str, Any]
    where: tuple[Condition, ...]
    conflict: tuple[str, ...]
    returning: tuple[str, ...]
    expect_rows: int | None


def change_of(config: Mapping[str, Any], *, parameters: Mapping[str, Any]) -> Change:
    """Of what is sound (see `problems_of`). Without `values` the task's parameters are the values."""
    increments = {column: _number(value) for column, value in config.get("increment", {}).items()}
    decrements = {column: -_number(value) for column, value in config.get("decrement", {}).items()}
    values = _values(config, parameters=parameters) or {}
    return Change(
        operation=config["operation"],
        table=config["table"],
        values={column: bound(value) for column, value in values.items()},
        increments={**increments, **decrements},
        where=tuple(_condition(column, value) for column, value in config.get("where", {}).items()),
        conflict=tuple(config.get("conflict", ())),
        returning=tuple(config.get("returning", ())),
        expect_rows=config.get("expect_rows"),
    )


def bound(value: Any) -> Any:
    """As the drivers bind it: lists and objects as JSON text."""
    if isinstance(value, dict | list):
        return body_of(value).decode()
    return _exact(value) if isinstance(value, float) else value


def problems_of(config: Mapping[str, Any], *, parameters: Mapping[str, Any] | None, access: Access | None) -> list[str]:
    """One sentence for each. `parameters` is None when a flow is posted, `access` where no connection was found."""
    operation, problems = config.get("operation"), unknown_keys(config, known=KEYS)
    if not isinstance(operation, str) or operation not in KEYS_OF:
        sentence = _("operation must be one of %(choices)s") % {"choices": ", ".join(OPERATIONS)}
        return [*problems, Fault(sentence, key="operation")]
    problems += [
        Fault(_("%(key)s is not for %(operation)s") % {"key": key, "operation": operation}, key=key)
        for key in sorted(KEYS & config.keys() - {*COMMON_KEYS, *KEYS_OF[operation]})
    ]
    problems += _shape_problems(config)
    if problems:
        return problems
    judge = _Judge(config, operation=operation, parameters=parameters)
    problems += judge.problems()
    return problems + (_permission_problems(judge, access=access) if access else [])


# -- shapes --


def _shape_problems(config: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    if not isinstance(config.get("table"), str) or not config["table"]:
        problems.append(Fault(_("table is required and must be a string"), key="table"))
    for key in ("values", "increment", "decrement", "where"):
        if not isinstance(config.get(key, {}), dict) or config.get(key) == {}:
            problems.append(Fault(_("%(key)s must be an object of columns, and not empty") % {"key": key}, key=key))
    for key in ("conflict", "returning"):
        listed = config.get(key, ["column"])
        if not isinstance(listed, list) or not listed or not all(isinstance(column, str) for column in listed):
            problems.append(Fault(_("%(key)s must be a list of columns, and not empty") % {"key": key}, key=key))
    rows = config.get("expect_rows", 0)
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        problems.append(Fault(_("expect_rows must be a whole number"), key="expect_rows"))
    return problems


# -- meanings --


@dataclass(frozen=True, slots=True)
class _Judge:
    config: Mapping[str, Any]
    operation: str
    parameters: Mapping[str, Any] | None

    def problems(self) -> list[str]:
        problems = [*self._required(), *self._clashes()]
        values = self.values or {}
        problems += _faults("values", values, _value_fault)
        for key in ("increment", "decrement"):
            problems += _faults(key, self.config.get(key, {}), self._number_fault)
        return problems + _faults("where", self.config.get("where", {}), self._condition_fault)

    @property
    def values(self) -> Mapping[str, Any] | None:
        """None where they are the parameters, which nobody knows yet."""
        return _values(self.config, parameters=self.parameters)

    @property
    def columns(self) -> Iterator[tuple[str, str]]:
        """All that are named anywhere, each with the key under which it is."""
        yield from (("values", column) for column in self.values or ())
        for key in ("increment", "decrement", "where", "conflict", "returning"):
            yield from ((key, column) for column in self.config.get(key, ()))

    @property
    def _changed(self) -> list[str]:
        return [*(self.values or ()), *self.config.get("increment", ()), *self.config.get("decrement", ())]

    def _required(self) -> Iterator[str]:
        if self.operation in ("update", "delete") and not self.config.get("where"):
            yield Fault(_("where is required for %(operation)s") % {"operation": self.operation}, key="where")
        if self.operation == "upsert" and not self.config.get("conflict"):
            yield Fault(_("conflict is required for upsert: the columns of the key"), key="conflict")
        if self.operation == "delete" or self.values is None:
            return
        if not self._changed:
            sentence = _("there are no values: neither in the configuration nor as parameters of the task")
            yield Fault(sentence, key="values")
        missing = [column for column in self.config.get("conflict", ()) if column not in self.values]
        if missing:
            sentence = _("the values have no %(columns)s, which conflict names")
            yield Fault(sentence % {"columns": ", ".join(missing)}, key="conflict")

    def _clashes(self) -> Iterator[str]:
        changed = self._changed
        for column in sorted({column for column in changed if changed.count(column) > 1}):
            yield _("%(column)s is changed twice") % {"column": shown_name(column)}
        both = {*self.config.get("increment", ()), *self.config.get("decrement", ())} & {
            *self.config.get("conflict", ())
        }
        for column in sorted(both):
            yield _("%(column)s is a column of the key and cannot be incremented") % {"column": shown_name(column)}

    def _may_be_template(self, value: object) -> bool:
        return self.parameters is None and isinstance(value, str) and TEMPLATE in value

    def _number_fault(self, value: object) -> str:
        if self._may_be_template(value) or _is_number(value):
            return ""
        return _("must be a number")

    def _condition_fault(self, value: object) -> str:
        """Null is no value to compare with: nothing equals it, and a missing parameter must not choose other rows."""
        if not isinstance(value, dict):
            return _comparable_fault(value)
        operator = value.get("op")
        if not isinstance(operator, str) or operator not in OPERATORS:
            return _("op must be one of %(choices)s") % {"choices": ", ".join(OPERATORS)}
        if value.keys() != ({"op"} if operator in TESTS else {"op", "value"}):
            return _("must have op, and value where there is something to compare with")
        if operator != "in":
            return _comparable_fault(value["value"]) if operator in COMPARISONS else ""
        listed = value["value"]
        if self._may_be_template(listed):
            return ""
        if not isinstance(listed, list) or len(listed) > MOST_LISTED:
            return _("in needs a list of at most %(most)d values") % {"most": MOST_LISTED}
        return next(filter(None, map(_comparable_fault, listed)), "")


def _values(config: Mapping[str, Any], *, parameters: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if config["operation"] == "delete":
        return {}
    if "values" in config:
        found: Mapping[str, Any] = config["values"]
        return found
    return {} if "increment" in config or "decrement" in config else parameters


def _faults(key: str, columns: Mapping[str, Any], fault_of: Callable[[Any], str]) -> list[str]:
    """Of the values of columns, each with what is wrong with it."""
    return [
        Fault(f"{shown_name(column)}: {reason}", key=key)
        for column, value in columns.items()
        if (reason := fault_of(value))
    ]


def _comparable_fault(value: object) -> str:
    if value is None:
        return _('null compares with nothing; {"op": "is_null"} asks for it')
    if isinstance(value, dict | list):
        return _("a list or an object compares with nothing")
    return _value_fault(value)


def _value_fault(value: object) -> str:
    text = body_of(value).decode() if isinstance(value, dict | list) else value
    if isinstance(text, str) and UNSTORABLE.search(text):
        return _("has a character that is not allowed (NUL or a lone surrogate)")
    if isinstance(value, int | float) and not _is_number(value) and not isinstance(value, bool):
        return _("must be a finite number of at most %(most)d digits") % {"most": MOST_DIGITS}
    return ""


def _is_number(value: object) -> bool:
    """A number, or its text as decimals are often sent."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if isinstance(value, int):
        return value.bit_length() < MOST_DIGITS * 3
    if isinstance(value, float):
        return math.isfinite(value)
    if len(value) > MOST_DIGITS:
        return False
    try:
        number = Decimal(value)
    except InvalidOperation:
        return False
    return number.is_finite() and abs(number.adjusted()) <= MOST_DIGITS


def _number(value: Any) -> Any:
    return Decimal(value) if isinstance(value, str) else _exact(value)


def _exact(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    number = Decimal(repr(value))
    return number if number.adjusted() in EXACT else value


def _condition(column: str, value: Any) -> Condition:
    if not isinstance(value, dict):
        return Condition(column, "=", (bound(value),))
    operator = value["op"]
    if operator == "in":
        return Condition(column, operator, tuple(map(bound, value["value"])))
    return Condition(column, operator, () if operator in TESTS else (bound(value["value"]),))


# -- permissions --


def _permission_problems(judge: _Judge, *, access: Access) -> list[str]:
    named = {"connection": access.name, "table": shown_name(judge.config["table"]), "operation": judge.operation}
    table = access.tables.get(judge.config["table"])
    if table is None:
        return [Fault(_("the connection %(connection)s does not allow the table %(table)s") % named, key="table")]
    problems: list[str] = []
    if judge.operation not in table.operations:
        sentence = _("the connection %(connection)s does not allow %(operation)s of %(table)s") % named
        problems.append(Fault(sentence, key="operation"))
    if access.dialect == "mysql" and "returning" in judge.config:
        problems.append(Fault(_("returning is not available on MySQL and MariaDB"), key="returning"))
    return problems + _column_problems(judge, table=table, named=named)


def _column_problems(judge: _Judge, *, table: Table, named: Mapping[str, str]) -> list[str]:
    message = _("the connection %(connection)s does not allow the column %(column)s of %(table)s")
    refused: dict[str, str] = {}
    for key, column in judge.columns:
        if column not in table.columns:
            refused.setdefault(column, key)
    return [
        Fault(message % {**named, "column": shown_name(column)}, key=key if key in judge.config else "")
        for column, key in refused.items()
    ]
