"""What operators do, over rows that filters or ids select: transactions paused, cancelled, undone, run again;
exceptions settled, handled, assigned, commented on. Retries have commands of their own (replay_*)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q, QuerySet

from dist_task.engine import operate
from dist_task.engine.four_eyes import rule
from dist_task.four_eyes.words import Act
from dist_task.management.arguments import WRONG_ARGUMENTS, actor, json_value
from dist_task.management.replay import ReplayCommand
from dist_task.states import COMPENSATION_MOVES, CompensationStatus, Resolution, TransactionStatus, sources
from exceptions_app.management.commands import replay_exceptions
from transactions.management.commands import replay_transactions
from transactions.models import Transaction

SELECTING = (
    *("flow", "flow_name", "created_after", "created_before", "ids_file", "error", "status"),
    *("instance_id", "task", "error_code", "ids", "handled"),
)


class OfTransactions(replay_transactions.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--status", choices=TransactionStatus.values, help="in this status")


class Pause(OfTransactions):
    help = "Nothing of these transactions begins until they are resumed."
    verb, done = "pause", "paused"

    def selected(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        goes_on = Q(completed_at__isnull=True) | Q(compensation=CompensationStatus.RUNNING)
        return self.filtered(options).filter(goes_on, paused=False)

    def act(self, key: str, *, options: dict[str, Any]) -> None:
        operate.pause_transaction(key, actor=actor(), remark=options["remark"])


class Resume(OfTransactions):
    help = "These paused transactions go on."
    verb, done = "resume", "resumed"

    def selected(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        return self.filtered(options).filter(paused=True)

    def act(self, key: str, *, options: dict[str, Any]) -> None:
        operate.resume_transaction(key, actor=actor(), remark=options["remark"])


class Rerun(OfTransactions):
    help = "Run these ended transactions again, from some of their tasks on, as new transactions."
    verb, done = "rerun", "run again"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--task", action="append", metavar="ID", help="from this task on (repeatable); else all")
        parser.add_argument("--force", action="store_true", help="also where tasks would do their work once more")

    def selected(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        return self.filtered(options).filter(completed_at__isnull=False, parent=None, was_run_again=False)

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        given = {"tasks": options["task"], "force": options["force"] or None}
        return {name: value for name, value in given.items() if value is not None}

    def act(self, key: str, *, options: dict[str, Any]) -> None:
        given = {"tasks": options["task"] or (), "force": options["force"]}
        again = operate.rerun_transaction(key, actor=actor(), remark=options["remark"], **given)
        self.stdout.write(f"{key} runs again as {again.instance_id}")


class Compensate(OfTransactions):
    help = "What these ended transactions have done is undone. Under the four-eyes rule it is only asked for."
    verb, done = "compensate", "compensated"

    @property
    def is_only_asked_for(self) -> bool:
        return rule.is_needed(Act.COMPENSATE)

    def selected(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        may = sources(COMPENSATION_MOVES, to=CompensationStatus.RUNNING)
        return self.filtered(options).filter(completed_at__isnull=False, compensation__in=may)

    def act(self, key: str, *, options: dict[str, Any]) -> None:
        operate.compensate_transaction(key, actor=actor(), remark=options["remark"])


class Cancel(OfTransactions):
    help = "Nothing of these transactions begins any more; what has been done is not undone."
    verb, done = "cancel", "cancelled"

    def selected(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        ended = (TransactionStatus.SUCCESS, TransactionStatus.CANCELLED)
        rows = self.filtered(options).filter(compensation=CompensationStatus.NONE, cancelling=False)
        return rows.exclude(status__in=ended)

    def act(self, key: str, *, options: dict[str, Any]) -> None:
        operate.cancel_transaction(key, actor=actor(), remark=options["remark"])


class Handle(replay_exceptions.Command):
    help = "Close these exceptions: nothing runs, and automatic retries that are left are stopped."
    verb, done = "handle", "handled"

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--resolution", choices=Resolution.values, default=Resolution.ACKNOWLEDGED.value)

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"resolution": options["resolution"]}

    def act(self, key: int, *, options: dict[str, Any]) -> None:
        given = {name: options[name] for name in ("remark", "resolution")}
        operate.handle_exception(key, actor=actor(), **given)


class Assign(replay_exceptions.Command):
    help = "Say who looks after these exceptions."
    verb, done = "assign", "assigned"

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--to", required=True, metavar="USER", help='a user name; "" for nobody')
        parser.add_argument("--force", action="store_true", help="also what somebody else looks after")

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"assignee": options["to"], **({"force": True} if options["force"] else {})}

    def act(self, key: int, *, options: dict[str, Any]) -> None:
        given = {name: options[name] for name in ("remark", "force")}
        operate.assign_exception(key, assignee=options["to"], actor=actor(), **given)


class Comment(replay_exceptions.Command):
    help = "Say something about these exceptions, for whoever looks next."
    verb, done = "comment", "commented on"

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return {}

    def act(self, key: int, *, options: dict[str, Any]) -> None:
        operate.comment_exception(key, actor=actor(), remark=options["remark"])


class OfExceptions(replay_exceptions.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument("--output", type=json_value, metavar="JSON", help="what the tasks gave, the same for all")
        parser.add_argument("--force", action="store_true", help="also where the engine has doubts; see the API")

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        given = {"output": options["output"], "force": options["force"] or None}
        return {name: value for name, value in given.items() if value is not None}

    def given(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"actor": actor(), **{key: options[key] for key in ("remark", "output", "force")}}


class Skip(OfExceptions):
    help = "Pass over the failed tasks behind these exceptions: their transactions go on without them."
    verb, done = "skip", "skipped"

    def act(self, key: int, *, options: dict[str, Any]) -> None:
        operate.skip_run(key, **self.given(options))


class Complete(OfExceptions):
    help = "Say that the failed tasks behind these exceptions were done elsewhere: their transactions go on."
    verb, done = "complete", "completed"

    def act(self, key: int, *, options: dict[str, Any]) -> None:
        operate.complete_run(key, **self.given(options))


VERBS: Mapping[str, type[ReplayCommand]] = {
    "pause": Pause,
    "resume": Resume,
    "rerun": Rerun,
    "compensate": Compensate,
    "cancel": Cancel,
    "skip": Skip,
    "complete": Complete,
    "handle": Handle,
    "assign": Assign,
    "comment": Comment,
}


class Command(BaseCommand):
    help = __doc__ or ""

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar=" | ".join(VERBS))
        for name, kind in VERBS.items():
            of_verb = verbs.add_parser(name, help=kind.help, description=kind.help)
            kind().add_arguments(of_verb)
            of_verb.add_argument("--all", action="store_true", help="where nothing else selects")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit code 0: everything was done; 1: something was not, see standard error; 2: wrong arguments; 3: it
        was asked for, and awaits a second person."""
        if not options["remark"].strip():
            raise CommandError("say why: --remark TEXT", returncode=WRONG_ARGUMENTS)
        if not options["all"] and not any(options.get(name) for name in SELECTING):
            raise CommandError("say which ones: a filter, ids, or --all", returncode=WRONG_ARGUMENTS)
        of_verb = VERBS[options["verb"]]()
        of_verb.stdout, of_verb.stderr = self.stdout, self.stderr
        of_verb.handle(*args, **options)
