"""Remove old finished transactions, old deliveries and old batches. What they count in the statistics stays."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from dist_task.engine.prune import prune, prune_batches, prune_deliveries
from dist_task.management.arguments import age, count, words
from dist_task.states import FINAL_TRANSACTION

MOST_AT_ONCE = 100_000
PLURALS = {"transaction": "transactions", "delivery": "deliveries", "batch": "batches"}


def final_statuses(text: str) -> list[str]:
    statuses = words(text)
    wrong = [status for status in statuses if status not in FINAL_TRANSACTION]
    if wrong or not statuses:
        raise ArgumentTypeError(f"must be one or more of {', '.join(sorted(FINAL_TRANSACTION))}")
    return statuses


class Command(BaseCommand):
    help = (
        "Remove old finished transactions and all that belongs to them, old deliveries of alerts and webhooks, and old "
        "batches; "
        "the statistics keep their totals."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--older-than", type=age, required=True, metavar="AGE", help="completed 30d, 12h, ... ago")
        parser.add_argument(
            "--status",
            type=final_statuses,
            default=["success", "cancelled"],
            help="default: success,cancelled; failed ones only where they are named",
        )
        parser.add_argument("--limit", type=count, default=MOST_AT_ONCE, metavar="N", help=f"default: {MOST_AT_ONCE}")
        parser.add_argument("--dry-run", action="store_true", help="print how many, remove none")

    def handle(self, *args: Any, **options: Any) -> None:
        before = timezone.now() - options["older_than"]
        limit, dry_run = options["limit"], options["dry_run"]
        pruned = prune(before=before, statuses=options["status"], limit=limit, dry_run=dry_run)
        self._say(pruned, noun="transaction", what=f"completed before {before:%Y-%m-%d %H:%M:%S %Z}", options=options)
        told = prune_deliveries(before=before, limit=limit, dry_run=dry_run)
        if told:
            self._say(told, noun="delivery", what="of alerts and webhooks", options=options)
        batches = prune_batches(before=before, limit=limit, dry_run=dry_run)
        if batches:
            self._say(batches, noun="batch", what="with their items", options=options)

    def _say(self, count: int, *, noun: str, what: str, options: dict[str, Any]) -> None:
        words = noun if count == 1 else PLURALS[noun]
        verb = "would be removed" if options["dry_run"] else "removed"
        more = "; there may be more: run again" if count >= options["limit"] else ""
        self.stdout.write(f"{count} {words} {verb} ({what}){more}")
