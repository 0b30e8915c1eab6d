"""What commands of operators do: select rows, ask one verb of the engine for each, count, report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from dist_task.errors import DistTaskError
from dist_task.management.arguments import WRONG_ARGUMENTS, count, moment, read_lines
from flows.models import Flow

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Target:
    """A row to ask the verb for; with a `refusal` it was asked for by name and is not going to be tried."""

    key: Any
    label: str
    refusal: str = ""


class ReplayCommand(BaseCommand, ABC):
    """Exit code 0: everything was done; 1: something was not, see standard error; 2: wrong arguments."""

    one: str
    many: str
    verb: str = "retry"
    done: str = "retried"

    @abstractmethod
    def selected(self, options: dict[str, Any]) -> QuerySet[Any]:
        """All rows that match the filters."""

    @abstractmethod
    def named(self, options: dict[str, Any]) -> list[Any] | None:
        """The names given on the command line, or None where the filters alone select."""

    @abstractmethod
    def find(self, names: Iterable[Any]) -> QuerySet[Any]:
        """Those of the names that exist, whatever the filters say."""

    @abstractmethod
    def target(self, row: Any) -> Target: ...

    @abstractmethod
    def act(self, key: Any, *, options: dict[str, Any]) -> None:
        """Asks the engine's verb. Raises DistTaskError where that is refused."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--flow", action="append", metavar="ID", help="of this flow version (repeatable)")
        parser.add_argument("--flow-name", metavar="NAME", help="of all versions of this flow")
        parser.add_argument("--created-after", type=moment, metavar="TIME", help="created at this time or later")
        parser.add_argument("--created-before", type=moment, metavar="TIME", help="created before this time")
        parser.add_argument("--ids-file", metavar="FILE", help="one id per line; - reads standard input")
        parser.add_argument("--error", metavar="TEXT", help="whose error message contains this text")
        parser.add_argument("--limit", type=count, metavar="N", help="the oldest N only")
        parser.add_argument("--remark", default="", help="why; kept in the execution log")
        parser.add_argument("--dry-run", action="store_true", help="print what would be done, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unknown_flows(options["flow"] or [])
        done = failed = 0
        for target in self._targets(options):
            refusal = target.refusal or self._replay(target, options=options)
            done += not refusal
            failed += bool(refusal)
            if refusal:
                self.stderr.write(f"{target.label}: {refusal}")
        verb = f"would be {self.done}" if options["dry_run"] else self.done
        self.stdout.write(f"{done} {self.one if done == 1 else self.many} {verb}, {failed} failed")
        if failed:
            raise CommandError(f"{failed} of {done + failed} could not be {self.done}")

    def _replay(self, target: Target, *, options: dict[str, Any]) -> str:
        """Why it did not work; empty where it did."""
        if options["dry_run"]:
            self.stdout.write(f"would {self.verb} {target.label}")
            return ""
        try:
            self.act(target.key, options=options)
        except DistTaskError as error:
            return str(error)
        if options["verbosity"] > 1:
            self.stdout.write(f"{self.done} {target.label}")
        return ""

    def _targets(self, options: dict[str, Any]) -> Iterator[Target]:
        names = self.named(options)
        rows = self.selected(options).order_by("pk")
        # One server-side cursor: the selection is that of the start, whatever the retries change meanwhile.
        targets = self._by_name(rows, names=names) if names is not None else map(self.target, rows.iterator(CHUNK))
        return islice(targets, options["limit"])

    def _by_name(self, rows: QuerySet[Any], *, names: list[Any]) -> Iterator[Target]:
        for chunk in chunks(list(dict.fromkeys(names))):
            existing = self.find(chunk)
            matching = {row.pk for row in rows.filter(pk__in=existing.values("pk"))}
            found = {self.name_of(row): row for row in existing}
            for name in chunk:
                yield self._named_target(name, row=found.get(name), matching=matching)

    def _named_target(self, name: Any, *, row: Any | None, matching: set[Any]) -> Target:
        if row is None:
            return Target(key=name, label=str(name), refusal="not found")
        if row.pk not in matching:
            refusal = f"does not match the filters (its status is {row.status})"
            return Target(key=name, label=str(name), refusal=refusal)
        return self.target(row)

    @abstractmethod
    def name_of(self, row: Any) -> Any: ...


def chunks(names: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (names[start : start + CHUNK] for start in range(0, len(names), CHUNK))


def ids_of(options: dict[str, Any], *, option: str) -> list[str] | None:
    """What `option` and --ids-file name together."""
    if options[option] is None and options["ids_file"] is None:
        return None
    from_file = read_lines(options["ids_file"]) if options["ids_file"] is not None else []
    return [*(options[option] or []), *from_file]


def refuse_unknown_flows(flow_ids: list[str]) -> None:
    """A mistyped id must not look like a selection without rows."""
    known = set(Flow.objects.filter(pk__in=flow_ids).values_list("pk", flat=True))
    unknown = [flow_id for flow_id in flow_ids if flow_id not in known]
    if unknown:
        raise CommandError(f"no flow has the id {', '.join(unknown)}", returncode=WRONG_ARGUMENTS)
