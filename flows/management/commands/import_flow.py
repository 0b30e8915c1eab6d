"""Register flows from JSON files, all of them or none."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from dist_task.errors import DistTaskError
from dist_task.management.arguments import WRONG_ARGUMENTS
from dist_task.problems import InvalidValue
from flows.files import FlowFile, read_flow
from flows.models import Flow
from flows.register import check_words, register


class Command(BaseCommand):
    help = "Register flows from JSON files: all of them, or none where one has a problem."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            nargs="+",
            help="{name, flow_type, definition, description, create_user}, or a bare definition; - is stdin",
        )
        parser.add_argument("--name", help="of a bare definition (default: the name it has itself)")
        parser.add_argument("--type", help="the flow_type of a bare definition")
        parser.add_argument("--dry-run", action="store_true", help="check, and say what would be done")

    def handle(self, *args: Any, **options: Any) -> None:
        if len(options["file"]) > 1 and options["name"]:
            raise CommandError("--name is for one file", returncode=WRONG_ARGUMENTS)
        lines: list[str] = []
        with transaction.atomic():
            problems = sum(self._import(source, options=options, lines=lines) for source in options["file"])
            if problems or options["dry_run"]:
                transaction.set_rollback(True)
        if problems:
            noun = "problem" if problems == 1 else "problems"
            raise CommandError(f"{problems} {noun}, nothing was imported")
        for line in lines:
            self.stdout.write(line)

    def _import(self, source: str, *, options: dict[str, Any], lines: list[str]) -> int:
        """The number of problems, each written to standard error."""
        try:
            flow_file = read_flow(source, name=options["name"], flow_type=options["type"])
            lines.append(f"{source}: {register_file(flow_file, dry_run=options['dry_run'])}")
        except InvalidValue as error:
            for problem in error.problems:
                self.stderr.write(f"{source}: {problem}")
            return len(error.problems)
        except DistTaskError as error:
            self.stderr.write(f"{source}: {error}")
            return 1
        return 0


def register_file(flow_file: FlowFile, *, dry_run: bool) -> str:
    """What became of it, in words."""
    words = {key: getattr(flow_file, key) for key in ("name", "flow_type", "create_user", "description")}
    check_words(**words)  # before the name is looked up
    latest = Flow.objects.latest_of(flow_file.name)
    flow = register(definition=flow_file.definition, **words)
    if latest is not None and latest.pk == flow.pk:
        return f"{flow} is unchanged, id {flow.pk}"
    return f"{flow} would be a new version" if dry_run else f"{flow} is a new version, id {flow.pk}"
