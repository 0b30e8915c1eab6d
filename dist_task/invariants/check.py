"""Asks the database for everything that breaks a rule. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from dist_task.database import connect

from .graph import GRAPH, read_graph
from .rules import NEVER_PRUNED, RULES, Rule

MOST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule with what breaks it."""

    rule: Rule
    count: int
    examples: list[str]

    def __str__(self) -> str:
        return f"{self.rule.number} {self.rule.sentence} {self.count}: {', '.join(self.examples)}"


@dataclass(frozen=True, slots=True)
class Report:
    violations: list[Finding]
    warnings: list[Finding]
    unreadable_flows: list[str]


def verify(*, never_pruned: bool = False) -> Report:
    """Looks at one snapshot of the whole database, in a transaction that cannot write."""
    with closing(connect()) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            # Every rule looks at whole tables. Without statistics (a server that crashed lost them) nested loops look
            # cheap, and take a quarter of an hour for what takes a second.
            cursor.execute("SET enable_nestloop = off")
            return report(cursor, never_pruned=never_pruned)


def report(cursor: Any, *, never_pruned: bool = False) -> Report:
    """The same on a cursor of the caller. `never_pruned`: then the statistics have to equal a recount."""
    graph, unreadable = read_graph(cursor)
    findings = list(_findings(cursor, graph=graph, never_pruned=never_pruned))
    return Report(
        violations=[finding for finding in findings if not finding.rule.is_warning],
        warnings=[finding for finding in findings if finding.rule.is_warning],
        unreadable_flows=unreadable,
    )


def _findings(cursor: Any, *, graph: dict[str, Any], never_pruned: bool) -> Iterator[Finding]:
    for rule in RULES:
        if rule.name == NEVER_PRUNED and not never_pruned:
            continue
        cursor.execute(
            f"{GRAPH} SELECT count(*), (array_agg(example))[:{MOST_EXAMPLES}] FROM ({rule.sql}) AS broken",  # noqa: S608
            graph,
        )
        count, examples = cursor.fetchone()
        if count:
            yield Finding(rule, count=count, examples=list(examples))
