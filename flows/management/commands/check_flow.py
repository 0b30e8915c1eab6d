"""Check a flow's definition without registering it."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.translation import gettext, ngettext, override

from dist_task.management.arguments import add_language
from flows.files import read_definition
from flows.register import Findings, examine
from flows.serializers import CheckedFlow


class Command(BaseCommand):
    help = (
        "Check a flow's definition and name all its problems, or what may not have been meant (warnings)."
        " Registers nothing; exits with 1 when there is a problem, with 0 when there are warnings alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="a definition, or the body of POST /api/v1/flows; - is stdin")
        parser.add_argument("--json", action="store_true", help="print what POST /api/v1/flows/validate answers")
        add_language(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        with override(options["language"]):
            self._check(options["file"], as_json=options["json"])

    def _check(self, source: str, *, as_json: bool) -> None:
        found = examine(read_definition(source))
        if as_json:
            self.stdout.write(json.dumps(CheckedFlow(found).data, indent=2, ensure_ascii=False))
        else:
            self._print(found)
        if count := len(found.problems):
            raise CommandError(ngettext("%(count)d problem", "%(count)d problems", count) % {"count": count})

    def _print(self, found: Findings) -> None:
        for problem in found.problems:
            self.stdout.write(str(problem))
        for warning in found.warnings:
            self.stdout.write(gettext("warning: %(warning)s") % {"warning": warning})
        if not found.problems:
            self.stdout.write(gettext("The definition is sound."))
