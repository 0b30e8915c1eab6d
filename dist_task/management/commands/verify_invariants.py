"""Check what must be true of the rows at any moment. Reads only; safe on a busy production database."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from dist_task.invariants.check import Finding, Report, verify
from dist_task.invariants.rules import ELSEWHERE, RULES


class Command(BaseCommand):
    help = "Check the guarantees (docs/guarantees.md) against the rows, reading only. Exits with 1 when one is broken."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print the report as JSON")
        parser.add_argument(
            "--never-pruned",
            action="store_true",
            help="nothing was ever pruned here, so the statistics have to equal a recount",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        report = verify(never_pruned=options["never_pruned"])
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(report), indent=2, ensure_ascii=False))
        else:
            self._print(report)
        if report.violations:
            sys.exit(1)

    def _print(self, report: Report) -> None:
        for finding in report.violations:
            self.stdout.write(f"BROKEN {finding}")
        for finding in report.warnings:
            self.stdout.write(f"warning {finding}")
        for flow_id in report.unreadable_flows:
            self.stdout.write(f"warning the definition of flow {flow_id} cannot be read: its order is not checked")
        for number, reason in ELSEWHERE.items():
            self.stdout.write(f"not shown by rows: {number}, {reason}")
        broken = len(report.violations)
        self.stdout.write(f"{len(RULES)} rules, {broken} broken, {len(report.warnings)} warnings")


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "violations": [_finding(finding) for finding in report.violations],
        "warnings": [_finding(finding) for finding in report.warnings],
        "unreadable_flows": report.unreadable_flows,
        "not_shown_by_rows": ELSEWHERE,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    rule = finding.rule
    return {
        "number": rule.number,
        "name": rule.name,
        "sentence": rule.sentence,
        "count": finding.count,
        "examples": finding.examples,
    }
