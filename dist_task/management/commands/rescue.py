"""Take transactions from workers whose lease ran out. Running clusters do this by themselves all the time."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from dist_task.engine.rescue import rescue


class Command(BaseCommand):
    help = "Take transactions from workers whose lease ran out, so that others go on with them."

    def handle(self, *args: Any, **options: Any) -> None:
        rescued = rescue()
        self.stdout.write(f"{rescued} {'transaction' if rescued == 1 else 'transactions'} rescued")
