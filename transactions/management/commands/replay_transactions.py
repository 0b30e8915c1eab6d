"""Retry failed transactions, selected by filters or by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Exists, OuterRef, QuerySet

from dist_task.engine.operate import retry_transaction
from dist_task.management.arguments import actor
from dist_task.management.replay import ReplayCommand, Target, ids_of
from dist_task.states import CompensationStatus, TransactionStatus
from exceptions_app.models import ExceptionRecord
from transactions.models import Transaction


class Command(ReplayCommand):
    help = "Retry failed transactions: all their failed task runs become due now, with their parameters kept."
    one, many = "transaction", "transactions"

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_filters(parser)
        parser.add_argument(
            "--status",
            choices=TransactionStatus.values,
            default=TransactionStatus.FAILED,
            help="in this status (default: failed; the engine refuses others)",
        )

    def add_filters(self, parser: CommandParser) -> None:
        """What other verbs select transactions by as well."""
        super().add_arguments(parser)
        parser.add_argument("--instance-id", action="append", metavar="ID", help="this one (repeatable)")

    def selected(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        return self.filtered(options).filter(compensation=CompensationStatus.NONE)  # what is undone cannot be retried

    def filtered(self, options: dict[str, Any]) -> QuerySet[Transaction]:
        given = {
            "status": options["status"],
            "flow__in": options["flow"],
            "flow__name": options["flow_name"],
            "created_at__gte": options["created_after"],
            "created_at__lt": options["created_before"],
        }
        filters = {field: value for field, value in given.items() if value is not None}
        rows = Transaction.objects.filter(**filters)
        if options["error"] is not None:
            rows = rows.filter(_has_open_exception(containing=options["error"]))
        return rows.select_related("flow")

    def named(self, options: dict[str, Any]) -> list[str] | None:
        return ids_of(options, option="instance_id")

    def find(self, names: Iterable[str]) -> QuerySet[Transaction]:
        return Transaction.objects.filter(instance_id__in=list(names)).select_related("flow")

    def name_of(self, row: Transaction) -> str:
        return row.instance_id

    def target(self, row: Transaction) -> Target:
        return Target(key=row.instance_id, label=f"{row.instance_id} ({row.flow}, {row.status})")

    def parameters(self, options: dict[str, Any]) -> dict[str, Any]:
        return {}

    def act(self, key: str, *, options: dict[str, Any]) -> None:
        retry_transaction(key, actor=actor(), remark=options["remark"])


def _has_open_exception(*, containing: str) -> Exists:
    records = ExceptionRecord.objects.unhandled().filter(transaction=OuterRef("pk"))
    return Exists(records.filter(error_message__icontains=containing))
