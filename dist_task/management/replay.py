"""What commands of operators do: select rows, ask one verb of the engine for each, count, report. Many are a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from dist_task.batches.models import DEFAULT_RATE, Batch
from dist_task.batches.words import BatchStatus
from dist_task.engine.batches import verbs
from dist_task.engine.batches.table import find
from dist_task.errors import DistTaskError, InvalidRequest
from dist_task.four_eyes.models import ApprovalRequest
from dist_task.management.arguments import WRONG_ARGUMENTS, actor, count, moment, read_lines, seconds
from dist_task.management.batches import failures, follow, somebody_works
from flows.models import Flow

CHUNK = 500
MANY = 200
"""More rows than this are a batch, where somebody works: the cluster does them, at its rate, and remembers each. Under
the four-eyes rule always: they are asked for, however long it takes."""
AWAITS_SECOND_PERSON = 3
"""The exit code where everything was asked for, and nothing is done before somebody else has approved it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A row to ask the verb for; with a `refusal` it was asked for by name and is not going to be tried."""

    key: Any
    label: str
    refusal: str = ""


class ReplayCommand(BaseCommand, ABC):
    """Exit code 0: everything was done; 1: something was not, see standard error; 2: wrong arguments; 3: it was asked
    for, and awaits a second person."""

    one: str
    many: str  # as a batch calls them, too
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
    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        """Of the verb, as a batch has them."""

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
        parser.add_argument(
            "--batch", action="store_true", help=f"as a batch, which more than {MANY} are by themselves"
        )
        parser.add_argument("--no-wait", action="store_true", help="make the batch, and leave it to the cluster")
        parser.add_argument(
            "--rate", type=seconds, default=DEFAULT_RATE, metavar="N", help="of a batch: items per second"
        )
        parser.add_argument("--dry-run", action="store_true", help="print what would be done, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unknown_flows(options["flow"] or [])
        options["names"] = self.named(options)  # once: standard input can be read once
        if not options["dry_run"] and self._is_for_a_batch(options):
            self._replay_as_batch(options)
            return
        done = failed = 0
        for target in self._targets(options):
            refusal = target.refusal or self._replay(target, options=options)
            done += not refusal
            failed += bool(refusal)
            if refusal:
                self.stderr.write(f"{target.label}: {refusal}")
        if self.is_only_asked_for and not options["dry_run"]:
            self._tell(done, failed, done_word="asked for")
            if done:
                _end_awaiting(f"{done} {self.one if done == 1 else self.many} (asked for by {actor()})")
        else:
            self._tell(done, failed, done_word=f"would be {self.done}" if options["dry_run"] else self.done)

    @property
    def is_only_asked_for(self) -> bool:
        """Whether `act` asks a second person, and does nothing."""
        return False

    @property
    def _is_batch_only_asked_for(self) -> bool:
        return verbs.is_only_asked_for(find(self.many, self.verb))

    def _tell(self, done: int, failed: int, *, done_word: str = "") -> None:
        verb = done_word or self.done
        self.stdout.write(f"{done} {self.one if done == 1 else self.many} {verb}, {failed} failed")
        if failed:
            raise CommandError(f"{failed} of {done + failed} could not be {self.done}")

    def _is_for_a_batch(self, options: dict[str, Any]) -> bool:
        if options["batch"] or options["no_wait"]:
            return True
        most = options["limit"] or MANY + 1
        if most <= MANY or not (self._is_batch_only_asked_for or somebody_works()):
            return False
        names = options["names"]
        rows = self.selected(options) if names is None else self.find(names)
        return rows.order_by()[: MANY + 1].count() > MANY

    def _replay_as_batch(self, options: dict[str, Any]) -> None:
        rows, refused = self._frozen(options)
        for target in refused:
            self.stderr.write(f"{target.label}: {target.refusal}")
        batch = self._batch(rows, options=options)
        if batch is None:
            self._tell(0, len(refused))
            return
        self.stdout.write(f"batch {batch.pk}: {batch.total} {self.many}")
        if batch.status == BatchStatus.AWAITING:
            request = ApprovalRequest.objects.get(batch=batch)
            _end_awaiting(f"batch {batch.pk} (request {request}, until {request.expires_at:%Y-%m-%d %H:%M %Z})")
        if options["no_wait"]:
            return
        batch = follow(batch.pk, say=self.stdout.write)
        for line in failures(batch):
            self.stderr.write(line)
        if batch.left:
            raise CommandError(f"batch {batch.pk} was cancelled: {batch.left} of {batch.total} were not {self.done}")
        self._tell(batch.done, batch.refused + batch.failed + len(refused))

    @property
    def _command(self) -> str:
        return f"replay_{self.many}" if self.verb == "retry" else f"operate {self.verb}"

    def _frozen(self, options: dict[str, Any]) -> tuple[QuerySet[Any], list[Target]]:
        """What is selected, and what was named and cannot be retried."""
        names, rows = options["names"], self.selected(options)
        if names is None:
            oldest = rows.order_by("pk").values("pk")
            return rows.model.objects.filter(pk__in=oldest[: options["limit"]] if options["limit"] else oldest), []
        targets = list(islice(self._by_name(rows, names=names), options["limit"]))
        good = [target.key for target in targets if not target.refusal]
        return self.find(good), [target for target in targets if target.refusal]

    def _batch(self, rows: QuerySet[Any], *, options: dict[str, Any]) -> Batch | None:
        """None where nothing matches."""
        if not rows.exists():
            return None
        if self._is_batch_only_asked_for and not options["remark"].strip():
            raise CommandError("a second person has to know why: --remark TEXT", returncode=WRONG_ARGUMENTS)
        try:
            return verbs.create(
                rows,
                target=self.many,
                verb=self.verb,
                parameters=self.parameters(options),
                selection={"command": self._command},
                remark=options["remark"] or self._command,
                actor=actor(),
                rate=options["rate"],
            )
        except InvalidRequest as error:
            raise CommandError(str(error), returncode=WRONG_ARGUMENTS) from error

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
        names = options["names"]
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


def _end_awaiting(what: str) -> NoReturn:
    text = f"{what}: nothing is done before a second person approves it, in the console or over the API"
    raise CommandError(text, returncode=AWAITS_SECOND_PERSON)


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
