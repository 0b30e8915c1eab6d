"""Retry the task runs behind exceptions, selected by filters or by id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q, QuerySet
from django.utils import timezone

from dist_task.engine.operate import retry_exception
from dist_task.management.arguments import WRONG_ARGUMENTS, actor, json_value, moment, seconds, words
from dist_task.management.replay import ReplayCommand, Target, ids_of
from dist_task.states import ExceptionStatus
from exceptions_app.models import ExceptionRecord

LARGEST_ID = 2**63 - 1


class Command(ReplayCommand):
    help = "Retry the task runs behind exceptions that need a person."
    one, many = "exception", "exceptions"

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        when = parser.add_mutually_exclusive_group()
        when.add_argument("--delay", type=seconds, metavar="SECONDS", help="instead of the task's own interval")
        when.add_argument("--at", type=moment, metavar="TIME", help="at this time instead")
        parser.add_argument("--force", action="store_true", help="also where the strategy is no_retry")
        parser.add_argument(
            "--input", type=json_value, metavar="JSON", help="an object that the tasks are given instead, from now on"
        )

    def add_filters(self, parser: CommandParser) -> None:
        """What other verbs select exceptions by as well."""
        super().add_arguments(parser)
        parser.add_argument("--task", metavar="ID", help="of this task of the flow")
        parser.add_argument("--error-code", metavar="CODE", help="with exactly this error code")
        parser.add_argument("--ids", type=words, metavar="1,2,3", help="these exceptions")
        state = parser.add_mutually_exclusive_group()
        state.add_argument("--status", choices=ExceptionStatus.values, help="in this status (default: open)")
        state.add_argument("--handled", choices=("no", "yes"), help="no: open and retrying ones")

    def selected(self, options: dict[str, Any]) -> QuerySet[ExceptionRecord]:
        given = {
            "flow__in": options["flow"],
            "flow__name": options["flow_name"],
            "task_id": options["task"],
            "error_code": options["error_code"],
            "error_message__icontains": options["error"],
            "opened_at__gte": options["created_after"],
            "opened_at__lt": options["created_before"],
        }
        filters = {field: value for field, value in given.items() if value is not None}
        rows = ExceptionRecord.objects.filter(**filters)
        return rows.filter(_in_state(options)).select_related("transaction", "flow")

    def named(self, options: dict[str, Any]) -> list[int] | None:
        names = ids_of(options, option="ids")
        wrong = [name for name in names or [] if not _is_id(name)]
        if wrong:
            raise CommandError(f"not the id of an exception: {', '.join(wrong[:5])}", returncode=WRONG_ARGUMENTS)
        return [int(name) for name in names] if names is not None else None

    def find(self, names: Iterable[int]) -> QuerySet[ExceptionRecord]:
        return ExceptionRecord.objects.filter(pk__in=list(names)).select_related("transaction", "flow")

    def name_of(self, row: ExceptionRecord) -> int:
        return row.pk

    def target(self, row: ExceptionRecord) -> Target:
        what = row.error_code or row.error_message[:60]
        return Target(key=row.pk, label=f"{row.pk} ({row.wire_task_id}, {row.flow}: {what})")

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        delay = options["delay"]
        if options["at"]:
            delay = max((options["at"] - timezone.now()).total_seconds(), 0.0)
        given = {"delay": delay, "force": options["force"] or None, "input": options["input"]}
        return {name: value for name, value in given.items() if value is not None}

    def act(self, key: int, *, options: dict[str, Any]) -> None:
        given = {
            "delay_seconds": options["delay"],
            "at": options["at"],
            "force": options["force"],
            "remark": options["remark"],
            "input": options["input"],
        }
        retry_exception(key, actor=actor(), **given)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST_ID


def _in_state(options: dict[str, Any]) -> Q:
    if options["handled"] is not None:
        handled = Q(status=ExceptionStatus.HANDLED)
        return handled if options["handled"] == "yes" else ~handled
    return Q(status=options["status"] or ExceptionStatus.OPEN)
